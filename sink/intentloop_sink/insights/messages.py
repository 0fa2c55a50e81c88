"""Looks at messages themselves, always through an index and never at more than a bounded number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from random import Random
from typing import NamedTuple

from sqlalchemy import Connection, select, text

from intentloop_sink.catalogue.examples import Example, newest_examples
from intentloop_sink.catalogue.filters import ExampleFilter
from intentloop_sink.review.audit import draw

SAMPLE = 2_000
"""Messages that phrases are counted in; of a day with more it is a sample of runs of messages."""
_RUN = 25
SCANNED = 20_000
"""Newest messages that are looked at for a ranking, or for one intent."""
_HOUR = timedelta(hours=1)

_COUNTS = text("""
SELECT window_start, sum(n)::bigint FROM intent_hourly_stats
WHERE dataset_id = :dataset AND window_start >= :since AND window_start < :until
GROUP BY window_start ORDER BY window_start
""")

_ALL_TEXTS = text("""
SELECT input FROM "Example"
WHERE "datasetId" = :dataset AND "createdAt" >= :since AND "createdAt" < :until LIMIT :limit
""")

_RUNS_OF_TEXTS = text("""
SELECT e.input FROM unnest(CAST(:starts AS timestamptz[])) AS s (start), LATERAL (
  SELECT input FROM "Example"
  WHERE "datasetId" = :dataset AND "createdAt" >= s.start AND "createdAt" < :until
  ORDER BY "createdAt" LIMIT :run) AS e
""")

_BY_STEP = text("""
SELECT coalesce("currentStep", '') AS step, count(*) AS n, avg(confidence) AS mean,
       percentile_cont(0.1) WITHIN GROUP (ORDER BY confidence) AS p10
FROM (SELECT "currentStep", confidence, "predictedIntent" FROM "Example"
      WHERE "datasetId" = :dataset AND "createdAt" >= :since AND "createdAt" < :until
      ORDER BY "createdAt" DESC LIMIT :scanned) AS newest
WHERE "predictedIntent" = :intent
GROUP BY 1 ORDER BY n DESC, step LIMIT 30
""")


class Order(StrEnum):
    """How examples are listed."""

    NEWEST = "newest"
    LEAST_SURE = "least_sure"
    MOST_SURE = "most_sure"


class Texts(NamedTuple):
    """Messages, and of how many they are a sample."""

    texts: list[str]
    population: int


class Step(NamedTuple):
    """How sure the model was at a step of the dialogue."""

    name: str
    n: int
    mean_confidence: float
    p10: float


@dataclass(frozen=True)
class Messages:
    """Questions about messages of one dataset."""

    connection: Connection
    dataset_id: str

    def texts(self, since: datetime, until: datetime) -> Texts:
        """Return the messages of some hours, or runs of them that begin at random moments.

        Every moment is as likely as it was busy, so busy hours weigh as much as they should.
        """
        wanted = {"dataset": self.dataset_id, "since": since, "until": until}
        hours = self.connection.execute(_COUNTS, wanted).all()
        population = sum(int(n) for _, n in hours)
        if population <= SAMPLE:
            rows = self.connection.execute(_ALL_TEXTS, {**wanted, "limit": SAMPLE}).scalars()
            return Texts(list(rows), population)
        starts = _starts([(start, int(n)) for start, n in hours], Random(str(since)))  # noqa: S311 - a sample, not a secret
        runs = {**wanted, "starts": starts, "run": _RUN}
        found = self.connection.execute(_RUNS_OF_TEXTS, runs).scalars().all()
        return Texts(list(found), population)

    def by_step(self, intent: str, since: datetime, until: datetime) -> list[Step]:
        """Return the steps at which an intent was predicted, among the newest messages."""
        wanted = {"dataset": self.dataset_id, "intent": intent, "since": since, "until": until,
                  "scanned": SCANNED}  # fmt: skip
        return [Step(*row) for row in self.connection.execute(_BY_STEP, wanted)]

    def ranked(
        self, wanted: ExampleFilter, order: Order, *, limit: int, offset: int
    ) -> tuple[list[Example], bool]:
        """Return some of the newest messages in order of confidence, and whether there are more."""
        newest = newest_examples(self.dataset_id, wanted).limit(SCANNED).subquery()
        confidence = newest.c.confidence
        by = confidence.asc() if order is Order.LEAST_SURE else confidence.desc()
        ranked = (
            select(newest)
            .where(*wanted.conditions(newest.c))
            .order_by(by, newest.c.createdAt.desc(), newest.c.id.desc())
            .offset(offset)
            .limit(limit + 1)
        )
        rows = self.connection.execute(ranked).all()
        return [Example(*row) for row in rows[:limit]], len(rows) > limit


def _starts(hours: Sequence[tuple[datetime, int]], chance: Random) -> list[datetime]:
    places = draw([n for _, n in hours], SAMPLE // _RUN, chance)
    return [hours[p.hour][0] + _HOUR * (p.rank / hours[p.hour][1]) for p in places]
