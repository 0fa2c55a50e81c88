"""Decisions: made, kept with who and when, counted, and taken back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, NamedTuple

from pydantic import Field, model_validator
from sqlalchemy import Connection, Row, text

from intentloop_schemas.event import Intent
from intentloop_sink.catalogue.edit import Edit
from intentloop_sink.review.cards import State, Verdict
from intentloop_sink.review.settling import settle, unsettle

OUT_OF_SCOPE = "out_of_scope"
"""The label of what the bot is not made for; NLUs are trained with it under this name."""
MAX_TOGETHER = 50
_SETTLED_INLINE = 1_000
"""Copies that a decision changes at once; the rest follows within a moment."""

_LOCK_CARDS = text("""
SELECT id, queue, dataset_id, predicted_intent, confidence, copies, state, decision_id, leased_by,
       leased_until
FROM review_card WHERE id = ANY(:cards) ORDER BY id FOR UPDATE
""")

_INSERT = text("""
INSERT INTO review_decision (group_id, card_id, queue, dataset_id, verdict, intent,
                             predicted_intent, confidence, copies, reviewer, decided_at)
VALUES (:group, :card, :queue, :dataset, :verdict, :intent, :predicted, :confidence, :copies,
        :reviewer, :at) RETURNING id
""")

_DECIDE = text("""
UPDATE review_card SET state = :state, decision_id = :decision, is_settled = :is_settled,
       leased_by = NULL, leased_until = NULL
WHERE id = :card
""")

_LAST_GROUP = text("""
SELECT id, card_id, intent FROM review_decision
WHERE group_id = (SELECT group_id FROM review_decision
                  WHERE reviewer = :reviewer AND undone_at IS NULL AND decided_at >= :since
                  ORDER BY decided_at DESC, id DESC LIMIT 1)
  AND undone_at IS NULL ORDER BY card_id
""")

_REOPEN = text("""
UPDATE review_card SET state = 'open', decision_id = NULL, is_settled = true, leased_by = NULL,
       leased_until = NULL WHERE id = :card
""")

_UNDO = text("UPDATE review_decision SET undone_at = :at WHERE id = :decision")

_COUNT = text("""
SELECT count(*) FROM review_decision
WHERE reviewer = :reviewer AND decided_at >= :since AND undone_at IS NULL
""")

_CONFUSED = text("""
SELECT d.predicted_intent, d.intent, sum(d.copies)::bigint AS copies, count(*) AS cards
FROM review_decision d
WHERE d.dataset_id = :dataset AND d.undone_at IS NULL AND d.intent <> d.predicted_intent
  AND (d.predicted_intent = :intent OR d.intent = :intent)
GROUP BY d.predicted_intent, d.intent ORDER BY copies DESC, d.predicted_intent, d.intent LIMIT 10
""")

_HISTORY = text("""
SELECT d.decided_at, d.reviewer, d.verdict, d.intent, d.undone_at
FROM review_copy c JOIN review_decision d ON d.card_id = c.card_id
WHERE c.example_id = :example ORDER BY d.decided_at
""")


@dataclass(frozen=True, slots=True)
class Decided:
    """Which cards a decision took, and which it did not: another browser has them, or had."""

    cards: list[str]
    refused: list[str]
    copies: int


class Confusion(NamedTuple):
    """A pair of intents that the model takes for each other, as people corrected it."""

    predicted: str
    corrected: str
    copies: int
    cards: int


class PastDecision(NamedTuple):
    """What somebody decided of an example."""

    decided_at: datetime
    reviewer: str
    verdict: str
    intent: str | None
    undone_at: datetime | None


class Decide(Edit[Decided]):
    """Decide a card, and others like it together.

    The decision holds for all copies that there are and for those to come. What the model
    predicted and the statistics stay as they are.
    """

    card_ids: Annotated[list[str], Field(min_length=1, max_length=MAX_TOGETHER)]
    verdict: Verdict
    intent: Intent | None = None
    """The right one, of a correction."""
    session: str
    reviewer: str
    group: str
    """Names decisions that were made, and are undone, together."""

    @model_validator(mode="after")
    def _says_which(self) -> Decide:
        if (self.verdict is Verdict.CORRECT) != (self.intent is not None):
            raise ValueError("a correction names the right intent, and nothing else does")
        return self

    def run(self, connection: Connection, at: datetime) -> Decided:
        """Write the decisions and change the first copies."""
        rows = connection.execute(_LOCK_CARDS, {"cards": self.card_ids}).all()
        mine = [row for row in rows if self._may_decide(row, at)]
        for row in mine:
            self._decide(connection, row, at)
        taken = {row.id for row in mine}
        refused = [card for card in self.card_ids if card not in taken]
        return Decided(sorted(taken), refused, sum(row.copies for row in mine))

    def _may_decide(self, row: Row[Any], at: datetime) -> bool:
        is_free = row.leased_by in (None, self.session) or row.leased_until <= at
        return is_free and row.state in (State.OPEN, State.UNSURE)

    def _decide(self, connection: Connection, row: Row[Any], at: datetime) -> None:
        decision = connection.execute(
            _INSERT,
            {
                "group": self.group,
                "card": row.id,
                "queue": row.queue,
                "dataset": row.dataset_id,
                "verdict": self.verdict,
                "intent": self._label(row.predicted_intent),
                "predicted": row.predicted_intent,
                "confidence": row.confidence,
                "copies": row.copies,
                "reviewer": self.reviewer,
                "at": at,
            },
        ).scalar_one()
        is_final = self.verdict is not Verdict.UNSURE
        state = State.DECIDED if is_final else State.UNSURE
        change = {"state": state, "decision": decision, "is_settled": not is_final, "card": row.id}
        connection.execute(_DECIDE, change)
        if is_final:
            settle(connection, row.id, limit=_SETTLED_INLINE)

    def _label(self, predicted: str) -> str | None:
        labels = {Verdict.ACCEPT: predicted, Verdict.CORRECT: self.intent,
                  Verdict.OUT_OF_SCOPE: OUT_OF_SCOPE}  # fmt: skip
        return labels.get(self.verdict)


class UndoDecision(Edit[list[str]]):
    """Take a reviewer's last decision back, with those made together with it.

    Returns the cards, open again; none when there is nothing to undo since `since`.
    """

    reviewer: str
    since: datetime

    def run(self, connection: Connection, at: datetime) -> list[str]:
        """Restore examples and cards."""
        wanted = {"reviewer": self.reviewer, "since": self.since}
        group = connection.execute(_LAST_GROUP, wanted).all()
        cards = {"cards": [row.card_id for row in group]}
        current = {row.id: row.decision_id for row in connection.execute(_LOCK_CARDS, cards)}
        for row in group:
            connection.execute(_UNDO, {"decision": row.id, "at": at})
            if current.get(row.card_id) == row.id:
                unsettle(connection, row.card_id, row.id, row.intent)
                connection.execute(_REOPEN, {"card": row.card_id})
        return [row.card_id for row in group]


@dataclass(frozen=True)
class Decisions:
    """Questions about decisions."""

    connection: Connection

    def count(self, reviewer: str, since: datetime) -> int:
        """Return how many cards somebody has decided since a time."""
        wanted = {"reviewer": reviewer, "since": since}
        return int(self.connection.execute(_COUNT, wanted).scalar_one())

    def confused(self, dataset_id: str, intent: str) -> list[Confusion]:
        """Return what an intent was taken for, or what was taken for it, most messages first."""
        rows = self.connection.execute(_CONFUSED, {"dataset": dataset_id, "intent": intent})
        return [Confusion(*row) for row in rows]

    def of_example(self, example_id: str) -> list[PastDecision]:
        """Return what was decided of an example, the oldest first."""
        rows = self.connection.execute(_HISTORY, {"example": example_id})
        return [PastDecision(*row) for row in rows]
