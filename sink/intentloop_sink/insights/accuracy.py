"""How often each model was right, from what reviewers said of its messages.

Reviewers see most of what is flagged and a small sample of the rest, so shares of what they saw say
nothing about traffic. Each of the two is weighed by how many messages it stands for: the stratified
estimate of a proportion (Cochran, "Sampling Techniques", 1977, section 5.10).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from intentloop_sink.insights.precision import Interval, wilson_interval
from intentloop_sink.review import SIMULATION, Queue
from intentloop_sink.review.audit import JUDGED

DECISIONS = 2_000
"""The newest ones are looked at, and of each as many of its messages as `COPIES`."""
COPIES = 200
Z_BOTH = 2.241402727604945
"""The 98.75 % quantile of the standard normal distribution: two intervals of 97.5 % hold together
in at least 95 % of cases (Bonferroni)."""
_HOUR = timedelta(hours=1)

# Ids begin with the second of the message, so each card gives its newest ones from an index.
_SAID = text("""
SELECT e."modelVersion" AS model,
       date_bin(CAST(:width AS interval), e."createdAt", TIMESTAMPTZ 'epoch') AS start,
       d.queue = :flagged AS is_flagged, count(*) AS judged,
       count(*) FILTER (WHERE d.intent = e."predictedIntent") AS correct,
       count(*) FILTER (WHERE d.reviewer = :simulation) AS simulated
FROM (SELECT * FROM review_decision
      WHERE dataset_id = :dataset AND undone_at IS NULL AND verdict = ANY(:verdicts)
      ORDER BY decided_at DESC LIMIT :decisions) AS d,
  LATERAL (SELECT example_id FROM review_copy c
           WHERE c.card_id = d.card_id AND c.decision_id = d.id
           ORDER BY example_id DESC LIMIT :copies) AS c,
  LATERAL (SELECT * FROM "Example"
           WHERE id = c.example_id AND "createdAt" >= :since AND "createdAt" < :until
           OFFSET 0) AS e
GROUP BY 1, 2, 3
""")

_COUNTED = """
SELECT model_version AS model,
       date_bin(CAST(:width AS interval), window_start, TIMESTAMPTZ 'epoch') AS start,
       sum(n)::bigint AS n, sum(flagged_n)::bigint AS flagged
FROM {table}
WHERE dataset_id = :dataset AND window_start >= :since AND window_start < :until
GROUP BY 1, 2
"""
_FIRST = text("""
SELECT min(window_start) FROM intent_hourly_stats
WHERE dataset_id = :dataset AND window_start >= :since AND window_start < :until
""")
_BY_HOURS = text(_COUNTED.format(table="intent_hourly_stats"))
_BY_WINDOWS = text(_COUNTED.format(table="intent_window_stats"))


class Judged(NamedTuple):
    """Messages that a reviewer has looked at, how many the model got right, and who looked."""

    messages: int = 0
    right: int = 0
    simulated: int = 0


_NOTHING = Judged()


class Estimate(NamedTuple):
    """A share from 0 to 1, and where it lies with at least 95 % confidence."""

    share: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known of a model's messages: how many there were, and what was judged of them."""

    n: int = 0
    flagged: int = 0
    judged_flagged: Judged = _NOTHING
    judged_others: Judged = _NOTHING

    def __add__(self, other: Figures) -> Figures:
        """Return the sums of both."""
        return Figures(
            self.n + other.n,
            self.flagged + other.flagged,
            _sum(self.judged_flagged, other.judged_flagged),
            _sum(self.judged_others, other.judged_others),
        )

    @property
    def flagged_share(self) -> float | None:
        """Share of flagged messages; None where there are no messages."""
        return self.flagged / self.n if self.n else None

    @property
    def judged(self) -> Judged:
        """What was judged altogether."""
        return _sum(self.judged_flagged, self.judged_others)

    @property
    def accuracy(self) -> Estimate | None:
        """How often the model was right; None while a part that has messages is not judged."""
        parts = (
            (self.flagged, self.judged_flagged),
            (self.n - self.flagged, self.judged_others),
        )
        weighed = [(count / self.n, judged) for count, judged in parts if count > 0]
        if not weighed or any(judged.messages == 0 for _, judged in weighed):
            return None
        bounds = [
            (weight, wilson_interval(judged.right, judged.messages, Z_BOTH))
            for weight, judged in weighed
        ]
        return Estimate(
            sum(weight * judged.right / judged.messages for weight, judged in weighed),
            Interval(
                sum(weight * interval.low for weight, interval in bounds),
                sum(weight * interval.high for weight, interval in bounds),
            ),
        )


@dataclass(frozen=True, slots=True)
class ModelHistory:
    """A model over time, and altogether."""

    version: str
    periods: Mapping[datetime, Figures]
    """Where nothing happened there is no entry."""
    total: Figures

    @property
    def first(self) -> datetime:
        """The first period in which it answered."""
        return min(self.periods)


def first_hour(
    connection: Connection, dataset_id: str, since: datetime, until: datetime
) -> datetime | None:
    """Return the first hour of a range in which a model answered, None when there is none."""
    wanted = {"dataset": dataset_id, "since": since, "until": until}
    found: datetime | None = connection.execute(_FIRST, wanted).scalar()
    return found


def model_histories(
    connection: Connection, dataset_id: str, since: datetime, until: datetime, width: timedelta
) -> list[ModelHistory]:
    """Return the models that answered in a range of time, the one that began last first.

    `width` is that of a period, as in `Statistics.series`. Judged are messages of the newest
    decisions, a bounded number. Needs Postgres.
    """
    wanted = {"dataset": dataset_id, "since": since, "until": until, "width": width}
    counts = _BY_HOURS if width >= _HOUR else _BY_WINDOWS
    rows: dict[str, dict[datetime, Figures]] = defaultdict(lambda: defaultdict(Figures))
    for row in connection.execute(counts, wanted):
        rows[row.model][row.start] += Figures(row.n, row.flagged)
    limits = {"decisions": DECISIONS, "copies": COPIES, "verdicts": JUDGED,
              "flagged": Queue.FLAGGED, "simulation": SIMULATION}  # fmt: skip
    for row in connection.execute(_SAID, {**wanted, **limits}):
        rows[row.model][row.start] += _figures(row)
    return histories(rows)


def histories(rows: Mapping[str, Mapping[datetime, Figures]]) -> list[ModelHistory]:
    """Add up each model's periods; return the models, the one that began last first."""
    found = [
        ModelHistory(version, dict(sorted(periods.items())), _total(periods.values()))
        for version, periods in rows.items()
    ]
    return sorted(found, key=lambda model: (model.first, model.version), reverse=True)


def _figures(row: Any) -> Figures:
    judged = Judged(row.judged, row.correct, row.simulated)
    return Figures(judged_flagged=judged) if row.is_flagged else Figures(judged_others=judged)


def _sum(one: Judged, other: Judged) -> Judged:
    return Judged(*map(sum, zip(one, other, strict=True)))


def _total(figures: Iterable[Figures]) -> Figures:
    return sum(figures, Figures())
