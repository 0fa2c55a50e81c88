"""What a run sent, and what the database says about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import psycopg2

_TOTALS = """
SELECT coalesce(sum(stored), 0)::bigint, coalesce(sum(duplicates), 0)::bigint,
       coalesce(sum(rejected), 0)::bigint, coalesce(sum(flagged), 0)::bigint,
       coalesce(sum(batches), 0)::bigint,
       coalesce(extract(epoch FROM coalesce(
           max(committed_at) FILTER (WHERE closed_by = 'size'), max(committed_at)
       ) - min(opened_at)), 0)::float
FROM conversation_batch WHERE topic_id = %s
"""
_BY_INTENT = """
SELECT intent, n, low_confidence_n, confidence_sum_micros, confidence_histogram
FROM intent_hourly_stats WHERE model_version = ANY(%s)
"""
_WINDOWS = """
SELECT window_start, window_seconds, sum(n), sum(flagged_n), sum(late_n),
       sum(confidence_sum_micros) / 1e6 / sum(n)
FROM intent_window_stats WHERE model_version = ANY(%s)
GROUP BY window_start, window_seconds ORDER BY window_start DESC LIMIT %s
"""


@dataclass(slots=True)
class Sent:
    """What was sent so far.

    `messages` counts second deliveries too; `understood` are the messages whose intent the NLU
    found; `damaged` are records that no logger would write.
    """

    messages: int = 0
    redelivered: int = 0
    understood: int = 0
    damaged: int = 0

    @property
    def produced(self) -> int:
        """All records sent to Kafka."""
        return self.messages + self.damaged


@dataclass(frozen=True, slots=True)
class Totals:
    """What became of the records of one topic; `batches` are those of the configured size."""

    stored: int = 0
    duplicates: int = 0
    rejected: int = 0
    flagged: int = 0
    batches: int = 0
    seconds: float = 0.0
    """From the first record in Kafka to the commit of the last full batch, or of any if none is."""

    @property
    def accounted(self) -> int:
        """How many records the store has decided on."""
        return self.stored + self.duplicates + self.rejected


@dataclass(frozen=True, slots=True)
class IntentFigures:
    """One intent's messages; the histogram has 20 bins of confidence from 0 to 1."""

    intent: str
    count: int
    mean_confidence: float
    low_share: float
    histogram: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WindowFigures:
    """One tumbling window over all intents and channels."""

    start: datetime
    seconds: int
    count: int
    flagged: int
    late: int
    mean_confidence: float


class Hour(NamedTuple):
    """One intent in one hour on one channel, as it stands in the table."""

    intent: str
    n: int
    low_confidence_n: int
    confidence_sum_micros: int
    confidence_histogram: Sequence[int]


def by_intent(hours: Iterable[Hour]) -> list[IntentFigures]:
    """Add up hours and channels; return the intents, the most frequent first."""
    groups: dict[str, list[Hour]] = defaultdict(list)
    for hour in hours:
        groups[hour.intent].append(hour)
    figures = [_figures(intent, group) for intent, group in groups.items()]
    return sorted(figures, key=lambda intent: (-intent.count, intent.intent))


def _figures(intent: str, hours: Sequence[Hour]) -> IntentFigures:
    count = sum(hour.n for hour in hours)
    return IntentFigures(
        intent,
        count,
        mean_confidence=float(sum(hour.confidence_sum_micros for hour in hours)) / 1e6 / count,
        low_share=sum(hour.low_confidence_n for hour in hours) / count,
        histogram=tuple(map(sum, zip(*(h.confidence_histogram for h in hours), strict=True))),
    )


class Results:
    """Reads a run's results: its topic by id, its statistics by the models that have answered.

    A model that a run before has made goes on with its counts. `model_versions` may grow.

    Every call blocks for one query and raises psycopg2.Error when the database is away.
    """

    def __init__(self, url: str, topic_id: str, model_versions: Collection[str]) -> None:
        self._connection = psycopg2.connect(url, application_name="intentloop-demo")
        self._connection.set_session(readonly=True, autocommit=True)
        self._topic_id = topic_id
        self._model_versions = model_versions

    def totals(self) -> Totals:
        """Return the counts of everything that is committed."""
        return Totals(*self._query(_TOTALS, self._topic_id)[0])

    def intents(self) -> list[IntentFigures]:
        """Return the intents, the most frequent first."""
        return by_intent(Hour(*row) for row in self._query(_BY_INTENT, list(self._model_versions)))

    def last_windows(self, limit: int) -> list[WindowFigures]:
        """Return the last windows, the oldest first."""
        rows = self._query(_WINDOWS, list(self._model_versions), limit)
        return [
            WindowFigures(start, seconds, int(n), int(flagged), int(late), float(mean))
            for start, seconds, n, flagged, late, mean in reversed(rows)
        ]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall()
