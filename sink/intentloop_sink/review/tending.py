"""Makes cards of newly flagged examples, and decides later copies of what is decided.

This runs beside the ingest, not in it. A row of `review_inbox` comes with the transaction that
stored its examples and goes with the one that made cards of them, so each example counts once,
in whatever order transactions commit and however many processes tend the queue.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, text

from intentloop_sink.catalogue.edit import Edit
from intentloop_sink.catalogue.forgetting import TENDING, forget_examples
from intentloop_sink.review.cards import Queue, card_id, normalise, uncertainty
from intentloop_sink.review.settling import settle

_INBOX_ROWS = 10
"""Up to 1,000 examples each."""
_SETTLED_AT_ONCE = 5_000

_TAKE_TURN = text("SELECT pg_try_advisory_xact_lock(:turn)")

_TAKE_INBOX = text("""
DELETE FROM review_inbox WHERE id IN (SELECT id FROM review_inbox ORDER BY id LIMIT :rows)
RETURNING example_ids
""")

# The inner limit keeps one look at the index for each id, whatever the planner believes.
_FLAGGED = text("""
SELECT e.* FROM unnest(CAST(:ids AS text[])) AS wanted (id), LATERAL (
  SELECT id, "datasetId", input, coalesce("currentStep", '') AS step, "predictedIntent",
         confidence, alternatives, "createdAt"
  FROM "Example" WHERE "Example".id = wanted.id AND tags @> ARRAY['needs_review'] OFFSET 0) AS e
""")

# A card that was closed opens again; one that is decided has something to settle.
_ADD_CARDS = text("""
INSERT INTO review_card AS c
  (id, queue, dataset_id, text, step, sample_id, predicted_intent, confidence, copies, priority,
   state, is_settled, created_at, last_at)
SELECT id, :queue, dataset_id, input, step, sample_id, intent, confidence, copies, priority,
       'open', true, :at, last_at
FROM unnest(CAST(:id AS text[]), CAST(:dataset_id AS text[]), CAST(:text AS text[]),
            CAST(:step AS text[]), CAST(:sample_id AS text[]), CAST(:intent AS text[]),
            CAST(:confidence AS float8[]), CAST(:copies AS bigint[]), CAST(:priority AS float8[]),
            CAST(:last_at AS timestamptz[]))
  AS n (id, dataset_id, input, step, sample_id, intent, confidence, copies, priority, last_at)
ORDER BY id
ON CONFLICT (id) DO UPDATE SET
  copies = c.copies + excluded.copies,
  priority = c.priority + excluded.priority,
  state = CASE c.state WHEN 'closed' THEN 'open' ELSE c.state END,
  is_settled = c.is_settled AND c.state <> 'decided',
  text = CASE WHEN excluded.last_at >= c.last_at THEN excluded.text ELSE c.text END,
  sample_id = CASE WHEN excluded.last_at >= c.last_at THEN excluded.sample_id ELSE c.sample_id END,
  predicted_intent = CASE WHEN excluded.last_at >= c.last_at THEN excluded.predicted_intent
                          ELSE c.predicted_intent END,
  confidence = CASE WHEN excluded.last_at >= c.last_at THEN excluded.confidence
                    ELSE c.confidence END,
  last_at = greatest(c.last_at, excluded.last_at)
""")

_ADD_COPIES = text("""
INSERT INTO review_copy (example_id, card_id)
SELECT * FROM unnest(CAST(:example_ids AS text[]), CAST(:card_ids AS text[]))
ON CONFLICT (example_id) DO NOTHING RETURNING example_id
""")

# Until the transaction ends nobody deletes these; what is gone by now must leave no text behind.
_STILL_THERE = text("""
SELECT id FROM "Example" WHERE id = ANY(:ids) ORDER BY id FOR KEY SHARE
""")

_UNSETTLED = text("SELECT id FROM review_card WHERE NOT is_settled ORDER BY id LIMIT 100")


@dataclass(frozen=True, slots=True)
class Tended:
    """What one round did; `more` when another would find work."""

    examples: int
    settled: int
    more: bool


class TendQueue(Edit[Tended]):
    """Take up what was flagged since, and settle what is decided. A bounded amount of work.

    Does nothing when another process is at it.
    """

    def run(self, connection: Connection, at: datetime) -> Tended:
        """Do one round in the caller's transaction."""
        if not connection.execute(_TAKE_TURN, {"turn": TENDING}).scalar_one():
            return Tended(0, 0, more=False)
        inbox = connection.execute(_TAKE_INBOX, {"rows": _INBOX_ROWS}).scalars().all()
        taken = take_up(connection, [i for ids in inbox for i in ids], at)
        settled = _settle_all(connection)
        busy = len(inbox) == _INBOX_ROWS or settled >= _SETTLED_AT_ONCE
        return Tended(taken, settled, more=busy)


class _Copies(NamedTuple):
    """New copies of one card, the newest first."""

    card: str
    rows: Sequence[Row[Any]]

    def values(self) -> tuple[Any, ...]:
        newest = self.rows[0]
        weight = sum(
            uncertainty(row.predictedIntent, row.confidence, row.alternatives) for row in self.rows
        )
        return (
            self.card,
            newest.datasetId,
            newest.input,
            newest.step,
            newest.id,
            newest.predictedIntent,
            newest.confidence,
            len(self.rows),
            weight,
            newest.createdAt,
        )


_VALUES = ("id", "dataset_id", "text", "step", "sample_id", "intent", "confidence", "copies",
           "priority", "last_at")  # fmt: skip


def take_up(connection: Connection, example_ids: Iterable[str], at: datetime) -> int:
    """Put flagged examples on their cards; return how many there were still to be reviewed."""
    rows = connection.execute(_FLAGGED, {"ids": list(example_ids)}).all()
    cards = {row.id: _card_of(row) for row in rows}
    copies = {"example_ids": list(cards), "card_ids": list(cards.values())}
    new = set(connection.execute(_ADD_COPIES, copies).scalars())
    groups: dict[str, list[Row[Any]]] = {}
    for row in sorted(rows, key=lambda row: (row.createdAt, row.id), reverse=True):
        if row.id in new:
            groups.setdefault(cards[row.id], []).append(row)
    if groups:
        columns = zip(*(_Copies(*group).values() for group in groups.items()), strict=True)
        values = {name: list(column) for name, column in zip(_VALUES, columns, strict=True)}
        connection.execute(_ADD_CARDS, {**values, "queue": Queue.FLAGGED, "at": at})
    there = connection.execute(_STILL_THERE, {"ids": sorted(new)}).scalars()
    forget_examples(connection, sorted(new.difference(there)))
    return len(new)


def _card_of(row: Row[Any]) -> str:
    return card_id(row.datasetId, normalise(row.input), row.step)


def _settle_all(connection: Connection) -> int:
    done = 0
    for card in connection.execute(_UNSETTLED).scalars().all():
        done += settle(connection, card, limit=_SETTLED_AT_ONCE - done)
        if done >= _SETTLED_AT_ONCE:
            break
    return done
