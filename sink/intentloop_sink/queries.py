"""What reports and checks ask of the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, TextClause, text

from intentloop_sink.connection import session


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all partitions: produced = stored + duplicates + rejected."""

    stored: int
    duplicates: int
    rejected: int
    flagged: int
    batches: int

    @property
    def accounted(self) -> int:
        """Records whose fate is known."""
        return self.stored + self.duplicates + self.rejected


@dataclass(frozen=True, slots=True)
class IntentSummary:
    """How well the model knows an intent; shares and confidences from 0 to 1."""

    intent: str
    count: int
    mean_confidence: float
    low_confidence_share: float
    flagged_share: float
    histogram: list[int]
    """Counts in 20 bins of width 0.05."""


@dataclass(frozen=True, slots=True)
class WindowSummary:
    """All intents of one tumbling window; `is_final` once the watermark has passed its end."""

    window_start: datetime
    window_end: datetime
    count: int
    intents: int
    mean_confidence: float
    flagged_share: float
    late: int
    is_final: bool


@dataclass(frozen=True, slots=True)
class Line:
    """Where a partition stands in the store."""

    topic: str
    topic_id: str
    partition: int
    next_position: int
    updated_at: datetime
    writer: str


@dataclass(frozen=True, slots=True)
class Gap:
    """A place where the ranges of a partition do not tile it."""

    topic: str | None
    topic_id: str
    partition: int
    expected_position: int
    first_position: int
    problem: str
    """`missing` or `twice`."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What became of one partition's records, as far as the database knows."""

    topic: str
    topic_id: str
    partition: int
    first_position: int
    next_position: int | None
    """Where it stands; None when nothing says so, which does not add up."""
    stored: int
    duplicates: int
    rejected: int
    lost: int
    """Positions that the log no longer had, and no spool has brought since."""
    holes: int
    """Positions without a record: markers of transactions and the like."""
    gaps: int
    """Places where ranges are missing or overlap."""
    adds_up: bool


_TOTALS = text("""
SELECT coalesce(sum(stored), 0)::bigint, coalesce(sum(duplicates), 0)::bigint,
       coalesce(sum(rejected), 0)::bigint, coalesce(sum(flagged), 0)::bigint,
       coalesce(sum(batches), 0)::bigint
FROM conversation_batch
""")

_INTENTS = text("""
WITH bins AS (
  SELECT intent, bin, sum(count)::bigint AS count
  FROM intent_hourly_stats, unnest(confidence_histogram) WITH ORDINALITY AS h (count, bin)
  WHERE dataset_id = :dataset GROUP BY intent, bin),
histograms AS (SELECT intent, array_agg(count ORDER BY bin) AS histogram FROM bins GROUP BY intent)
SELECT intent, sum(n)::bigint,
       (sum(confidence_sum_micros) / (1e6 * sum(n)))::double precision,
       (sum(low_confidence_n) / sum(n))::double precision,
       (sum(flagged_n) / sum(n))::double precision, histogram
FROM intent_hourly_stats JOIN histograms USING (intent)
WHERE dataset_id = :dataset GROUP BY intent, histogram ORDER BY sum(n) DESC, intent
""")

_WINDOWS = text("""
SELECT window_start, window_end, sum(n)::bigint, count(DISTINCT intent),
       (sum(mean_confidence * n) / sum(n))::double precision,
       (sum(flagged_n) / sum(n))::double precision, sum(late_n)::bigint, bool_and(is_final)
FROM intent_window WHERE dataset_id = :dataset
  AND window_start >= (
    SELECT min(window_start) FROM (
      SELECT DISTINCT window_start FROM intent_window_stats WHERE dataset_id = :dataset
      ORDER BY window_start DESC LIMIT :count) AS newest)
GROUP BY window_start, window_end ORDER BY window_start DESC, window_end DESC LIMIT :count
""")

_LINES = text("""
SELECT topic, topic_id, partition, next_position, updated_at, writer FROM ingest_offset
ORDER BY topic, topic_id, partition
""")

_GAPS = text("""
SELECT topic, topic_id, partition, expected_position, first_position, problem
FROM conversation_batch_gaps ORDER BY topic_id, partition, first_position
""")

_RECONCILIATION = text("""
SELECT topic, topic_id, partition, first_position, next_position,
       stored, duplicates, rejected, lost, holes, gaps, adds_up
FROM conversation_reconciliation ORDER BY topic, topic_id, partition
""")

_WITH_HOLES = text("""
SELECT first_position, next_position, stored + duplicates + rejected FROM conversation_batch
WHERE topic_id = :topic_id AND partition = :partition
  AND next_position - first_position <> stored + duplicates + rejected
ORDER BY first_position
""")


@dataclass(frozen=True)
class Queries:
    """Questions to one database. Each sees what is committed when it is asked."""

    connection: Connection

    def totals(self) -> Totals:
        """Return what became of all records so far."""
        return Totals(*self._rows(_TOTALS)[0])

    def intents(self, dataset_id: str) -> list[IntentSummary]:
        """Return the intents of a dataset, the most frequent first."""
        return [IntentSummary(*row) for row in self._rows(_INTENTS, dataset=dataset_id)]

    def last_windows(self, dataset_id: str, count: int) -> list[WindowSummary]:
        """Return the newest windows of a dataset, the newest first."""
        rows = self._rows(_WINDOWS, dataset=dataset_id, count=count)
        return [WindowSummary(*row) for row in rows]

    def lines(self) -> list[Line]:
        """Return where every partition stands."""
        return [Line(*row) for row in self._rows(_LINES)]

    def gaps(self) -> list[Gap]:
        """Return every place where something is missing or there twice; empty when all is well."""
        return [Gap(*row) for row in self._rows(_GAPS)]

    def reconciliation(self) -> list[Reconciled]:
        """Return what became of the records of every partition."""
        return [Reconciled(*row) for row in self._rows(_RECONCILIATION)]

    def ranges_with_holes(self, topic_id: str, partition: int) -> list[tuple[int, int, int]]:
        """Return ranges with fewer records than positions: first, next and number of records."""
        rows = self._rows(_WITH_HOLES, topic_id=topic_id, partition=partition)
        return [(row[0], row[1], row[2]) for row in rows]

    def _rows(self, statement: TextClause, **parameters: Any) -> Sequence[Any]:
        return self.connection.execute(statement, parameters).all()


@contextmanager
def queries(url: str) -> Iterator[Queries]:
    """Yield queries over a connection that lasts as long as the context.

    Raises DatabaseUnavailableError when the database does not answer.
    """
    with session(url, "report", autocommit=True) as connection:
        yield Queries(connection)
