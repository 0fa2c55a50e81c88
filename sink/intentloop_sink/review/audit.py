"""The audit: a daily random sample of what nobody else would look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, text

from intentloop_schemas.event import Confidence, DatasetId
from intentloop_sink.catalogue.edit import Edit, Moment
from intentloop_sink.catalogue.forgetting import DRAWING
from intentloop_sink.review.cards import Verdict, audit_card_id
from intentloop_sink.review.settling import SIMULATION

DAILY_SAMPLE = 50
"""Messages a day and dataset."""
MOST_AT_ONCE = 1_000
"""Messages of a share."""
DAYS_BACK = 7
"""Days that are still drawn when nobody did so in time."""

_TAKE_TURN = text("SELECT pg_try_advisory_xact_lock(:turn)")

_DUE = text("""
SELECT d.id FROM dataset d WHERE NOT EXISTS (
  SELECT 1 FROM review_audit_day a WHERE a.dataset_id = d.id AND a.day = :day) ORDER BY d.id
""")

_HOURS = text("""
SELECT window_start, sum(n - flagged_n)::bigint FROM intent_hourly_stats
WHERE dataset_id = :dataset AND window_start >= :since AND window_start < :until
GROUP BY window_start HAVING sum(n - flagged_n) > 0 ORDER BY window_start
""")

_PICK = text("""
SELECT id, input, coalesce("currentStep", '') AS step, "predictedIntent", confidence, "createdAt"
FROM "Example"
WHERE "datasetId" = :dataset AND "createdAt" >= :since AND "createdAt" < :until
  AND cardinality("reviewReasons") = 0
ORDER BY "createdAt", id OFFSET :rank LIMIT 1
""")

# Ids hold a hash, so a checksum of them is as good as chance, and always says the same.
_SHARE = text("""
SELECT id, input, coalesce("currentStep", '') AS step, "predictedIntent", confidence, "createdAt"
FROM "Example"
WHERE "datasetId" = :dataset AND "createdAt" >= :since AND "createdAt" < :until
  AND cardinality("reviewReasons") = 0
  AND hashtextextended(id, 0) & 65535 < CAST(:share AS float8) * 65536
ORDER BY "createdAt", id LIMIT :limit
""")

# One that somebody has reviewed already tells nothing new, but leaving it out would spoil chance.
_ADD_CARD = text("""
INSERT INTO review_card (id, queue, dataset_id, text, step, sample_id, predicted_intent, confidence,
                         copies, priority, state, is_settled, created_at, last_at)
VALUES (:card, 'audit', :dataset, :input, :step, :id, :intent, :confidence, 1, :priority, 'open',
        true, :at, :last_at) ON CONFLICT (id) DO NOTHING
""")

_ADD_COPY = text("""
INSERT INTO review_copy (example_id, card_id) VALUES (:id, :card) ON CONFLICT DO NOTHING
""")

_ADD_DAY = text("""
INSERT INTO review_audit_day (dataset_id, day, population, drawn)
VALUES (:dataset, :day, :population, :drawn)
""")

_AUDITED = text("""
SELECT predicted_intent, confidence, verdict = 'accept' AS is_right, reviewer = :simulation
FROM review_decision
WHERE dataset_id = :dataset AND queue = 'audit' AND decided_at >= :since AND undone_at IS NULL
  AND verdict = ANY(:verdicts)
ORDER BY id
""")

JUDGED = [Verdict.ACCEPT, Verdict.CORRECT, Verdict.OUT_OF_SCOPE]
"""Verdicts that say whether the model was right; `reject` and `unsure` do not."""


class Audited(NamedTuple):
    """One audited message: what the model said, how sure it was, and whether it was right.

    `is_simulated`: no person said so.
    """

    predicted_intent: str
    confidence: float
    is_right: bool
    is_simulated: bool = False


class Place(NamedTuple):
    """The `rank`-th unflagged message, from 0, of the `hour`-th hour."""

    hour: int
    rank: int


def draw(counts: Sequence[int], wanted: int, chance: Random) -> list[Place]:
    """Return up to `wanted` different places, each of all `sum(counts)` equally likely."""
    total = sum(counts)
    chosen = sorted(chance.sample(range(total), min(wanted, total)))
    places, hour, passed = [], 0, 0
    for number in chosen:
        while number >= passed + counts[hour]:
            passed += counts[hour]
            hour += 1
        places.append(Place(hour, number - passed))
    return places


class DrawAudit(Edit[int]):
    """Draw the samples of the last days that nobody has drawn; return how many messages.

    A day is drawn once, after it has ended in UTC, and always alike. Does nothing when another
    process is at it.
    """

    wanted: int = DAILY_SAMPLE

    def run(self, connection: Connection, at: datetime) -> int:
        """Insert the cards."""
        if not connection.execute(_TAKE_TURN, {"turn": DRAWING}).scalar_one():
            return 0
        today = at.astimezone(UTC).date()
        days = [today - timedelta(days=back) for back in range(DAYS_BACK, 0, -1)]
        return sum(self._draw_day(connection, day, at) for day in days)

    def _draw_day(self, connection: Connection, day: date, at: datetime) -> int:
        due = connection.execute(_DUE, {"day": day}).scalars().all()
        return sum(self._draw(connection, dataset, day, at) for dataset in due)

    def _draw(self, connection: Connection, dataset: str, day: date, at: datetime) -> int:
        since = datetime.combine(day, time(), UTC)
        wanted = {"dataset": dataset, "since": since, "until": since + timedelta(days=1)}
        hours = connection.execute(_HOURS, wanted).all()
        counts = [int(count) for _, count in hours]
        chance = Random(f"{dataset}:{day}")  # noqa: S311 - a sample, not a secret
        drawn = 0
        for place in draw(counts, self.wanted, chance):
            since = hours[place.hour][0]
            hour = {**wanted, "since": since, "until": since + timedelta(hours=1)}
            row = connection.execute(_PICK, {**hour, "rank": place.rank}).first()
            if row is not None:
                _add(connection, dataset, row, chance.random(), at)
                drawn += 1
        counted = {"dataset": dataset, "day": day, "population": sum(counts), "drawn": drawn}
        connection.execute(_ADD_DAY, counted)
        return drawn


class DrawShare(Edit[int | None]):
    """Draw a share of the unflagged messages of a stretch of time; return how many messages.

    For who cannot wait for the night. Drawing again adds nothing. None, and nothing done, when
    another process draws.
    """

    dataset_id: DatasetId
    since: Moment
    until: Moment
    share: Confidence

    def run(self, connection: Connection, at: datetime) -> int | None:
        """Insert the cards."""
        if not connection.execute(_TAKE_TURN, {"turn": DRAWING}).scalar_one():
            return None
        wanted = {"dataset": self.dataset_id, "since": self.since, "until": self.until,
                  "share": self.share, "limit": MOST_AT_ONCE}  # fmt: skip
        rows = connection.execute(_SHARE, wanted).all()
        for row in rows:
            chance = Random(row.id)  # noqa: S311 - an order, not a secret
            _add(connection, self.dataset_id, row, chance.random(), at)
        return len(rows)


def _add(
    connection: Connection, dataset: str, row: Row[Any], priority: float, at: datetime
) -> None:
    card = audit_card_id(dataset, row.id)
    values = {"card": card, "dataset": dataset, "input": row.input, "step": row.step, "id": row.id,
              "intent": row.predictedIntent, "confidence": row.confidence, "priority": priority,
              "at": at, "last_at": row.createdAt}  # fmt: skip
    connection.execute(_ADD_CARD, values)
    connection.execute(_ADD_COPY, values)


@dataclass(frozen=True)
class Audits:
    """Questions about the audit."""

    connection: Connection

    def since(self, dataset_id: str, since: datetime) -> list[Audited]:
        """Return what was audited since a time."""
        wanted = {"dataset": dataset_id, "since": since, "verdicts": JUDGED,
                  "simulation": SIMULATION}  # fmt: skip
        return [Audited(*row) for row in self.connection.execute(_AUDITED, wanted)]
