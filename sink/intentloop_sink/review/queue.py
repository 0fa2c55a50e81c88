"""The queue as a reviewer sees it: the next card, held for one browser, with what surrounds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from intentloop_schemas.event import DatasetId
from intentloop_sink.catalogue.edit import Edit
from intentloop_sink.catalogue.examples import Example, Examples
from intentloop_sink.review.cards import Queue, State

LEASE = timedelta(minutes=10)
"""How long a card is kept from others after a browser was shown it."""
CONTEXT = timedelta(hours=1)
"""How far from a message its neighbours are looked for."""
MAX_LENGTH = 1_000
_CONTEXT_SCANNED = 2_000
_SEEN_COPIES = 200

_MINE = text("""
SELECT id FROM review_card
WHERE leased_by = :session AND leased_until > :at
  AND dataset_id = :dataset AND queue = :queue AND state = :state
ORDER BY priority DESC, id LIMIT 1
""")

_BEST = text("""
SELECT id FROM review_card c
WHERE dataset_id = :dataset AND queue = :queue AND state = :state
  AND state = ANY (ARRAY['open', 'unsure'])
  AND (leased_until IS NULL OR leased_until <= :at OR leased_by = :session)
  AND NOT EXISTS (SELECT 1 FROM review_skip s
                  WHERE s.card_id = c.id AND s.reviewer = :reviewer AND s.until > :at)
ORDER BY priority DESC, id LIMIT 1
FOR UPDATE SKIP LOCKED
""")

_SAMPLE = text("""
SELECT e.id, e."predictedIntent", e.confidence
FROM review_copy c JOIN "Example" e ON e.id = c.example_id
WHERE c.card_id = :card AND c.decision_id IS NULL AND NOT e.tags @> ARRAY['reviewed']
ORDER BY c.example_id DESC LIMIT 1
""")

_LEASE = text("""
UPDATE review_card SET leased_by = :session, leased_until = :until,
       sample_id = :sample, predicted_intent = :intent, confidence = :confidence
WHERE id = :card
""")

_CLOSE = text("""
UPDATE review_card SET state = 'closed', leased_by = NULL, leased_until = NULL WHERE id = :card
""")

_RELEASE_OTHERS = text("""
UPDATE review_card SET leased_by = NULL, leased_until = NULL
WHERE leased_by = :session AND id <> :card
""")

_SKIP = text("""
INSERT INTO review_skip (card_id, reviewer, until) VALUES (:card, :reviewer, :until)
ON CONFLICT (card_id, reviewer) DO UPDATE SET until = excluded.until
""")

_CARD = text("""
SELECT id, queue, dataset_id, text, step, sample_id, predicted_intent, confidence, copies,
       priority, state, created_at, last_at
FROM review_card WHERE id = :card
""")

_COPIES = text("""
SELECT e.channel, e.sender, e.language
FROM (SELECT example_id FROM review_copy WHERE card_id = :card
      ORDER BY example_id DESC LIMIT :limit) AS c
JOIN "Example" e ON e.id = c.example_id
""")

_NEIGHBOURS = """
SELECT id FROM (
  SELECT id, sender, "createdAt" FROM "Example"
  WHERE "datasetId" = :dataset AND "createdAt" {comparison} :moment AND "createdAt" {bound} :bound
  ORDER BY "createdAt" {order} LIMIT :scanned) AS near
WHERE sender = :sender AND id <> :id ORDER BY "createdAt" {order}, id {order} LIMIT :wanted
"""
_BEFORE = text(_NEIGHBOURS.format(comparison="<=", bound=">=", order="DESC"))
_AFTER = text(_NEIGHBOURS.format(comparison=">", bound="<=", order="ASC"))

_OF_DATASET = text("""
SELECT id FROM review_card WHERE dataset_id = :dataset AND id = ANY(:cards) ORDER BY id
""")

_LENGTH = text("""
SELECT count(*) FROM (
  SELECT 1 FROM review_card
  WHERE dataset_id = :dataset AND queue = :queue AND state = :state
    AND state = ANY (ARRAY['open', 'unsure']) LIMIT :limit) AS waiting
""")

_TEXTS = text("""
SELECT id, text FROM review_card
WHERE dataset_id = :dataset AND queue = :queue AND state = :state
  AND state = ANY (ARRAY['open', 'unsure']) AND step = :step AND id <> :card
  AND (leased_until IS NULL OR leased_until <= :at OR leased_by = :session)
ORDER BY priority DESC, id LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class Card:
    """The same text at the same step of the dialogue, however often it came."""

    id: str
    queue: Queue
    dataset_id: str
    text: str
    """As it was written last."""
    step: str
    sample_id: str
    predicted_intent: str
    confidence: float
    copies: int
    priority: float
    """Frequency times mean uncertainty."""
    state: State
    created_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class CardView:
    """A card with what a reviewer needs to decide it."""

    card: Card
    sample: Example
    before: list[Example]
    """Up to two messages of the same sender, the oldest first."""
    after: list[Example]
    channels: list[str]
    senders: list[str]
    """Of the newest copies, each once."""


class TakeCard(Edit[str | None]):
    """Hold the next card for a browser; None when there is none for it.

    The card that a browser holds already stays its card. Cards with nothing left to decide are
    closed on the way.
    """

    dataset_id: DatasetId
    queue: Queue
    state: State = State.OPEN
    session: str
    reviewer: str

    def run(self, connection: Connection, at: datetime) -> str | None:
        """Lease the row."""
        wanted = {"dataset": self.dataset_id, "queue": self.queue, "state": self.state,
                  "session": self.session, "reviewer": self.reviewer, "at": at}  # fmt: skip
        while card := self._choose(connection, wanted):
            sample = connection.execute(_SAMPLE, {"card": card}).first()
            if sample is not None:
                lease = {"session": self.session, "until": at + LEASE, "card": card}
                values = zip(("sample", "intent", "confidence"), sample, strict=True)
                connection.execute(_RELEASE_OTHERS, lease)
                connection.execute(_LEASE, {**lease, **dict(values)})
                return card
            connection.execute(_CLOSE, {"card": card})
        return None

    def _choose(self, connection: Connection, wanted: dict[str, Any]) -> str | None:
        mine: str | None = connection.execute(_MINE, wanted).scalar()
        return mine or connection.execute(_BEST, wanted).scalar()


class SkipCard(Edit[None]):
    """Put a card off for one reviewer, and let others have it."""

    card_id: str
    session: str
    reviewer: str
    until: datetime

    def run(self, connection: Connection, at: datetime) -> None:  # noqa: ARG002 - every edit has its time
        """Note it and end the lease."""
        skip = {"card": self.card_id, "reviewer": self.reviewer, "until": self.until}
        connection.execute(_SKIP, skip)
        connection.execute(_RELEASE_OTHERS, {"session": self.session, "card": ""})


@dataclass(frozen=True)
class ReviewQueue:
    """Questions about the queue."""

    connection: Connection

    def view(self, card_id: str) -> CardView | None:
        """Return a card and what surrounds its newest message; None when there is none."""
        row = self.connection.execute(_CARD, {"card": card_id}).mappings().first()
        if row is None:
            return None
        kinds = {"queue": Queue(row["queue"]), "state": State(row["state"])}
        card = Card(**{**row, **kinds})
        sample = Examples(self.connection).one(card.dataset_id, card.sample_id)
        if sample is None:
            return None
        seen = {"card": card_id, "limit": _SEEN_COPIES}
        copies = self.connection.execute(_COPIES, seen).all()
        return CardView(
            card,
            sample,
            self._neighbours(sample, before=2),
            self._neighbours(sample, after=1),
            sorted({copy.channel for copy in copies}),
            list(dict.fromkeys(copy.sender for copy in copies)),
        )

    def of_dataset(self, dataset_id: str, card_ids: Sequence[str]) -> list[str]:
        """Return those of some cards that are a dataset's."""
        wanted = {"dataset": dataset_id, "cards": list(card_ids)}
        return list(self.connection.execute(_OF_DATASET, wanted).scalars())

    def length(self, dataset_id: str, queue: Queue, state: State) -> int:
        """Return how many cards wait; nobody needs to know more than `MAX_LENGTH`."""
        wanted = {"dataset": dataset_id, "queue": queue, "state": state, "limit": MAX_LENGTH}
        return int(self.connection.execute(_LENGTH, wanted).scalar_one())

    def texts_beside(self, card: Card, session: str, at: datetime, limit: int) -> dict[str, str]:
        """Return the texts of other waiting cards of the same step, the most urgent first."""
        wanted = {"dataset": card.dataset_id, "queue": card.queue, "state": card.state,
                  "step": card.step, "card": card.id, "session": session, "at": at,
                  "limit": limit}  # fmt: skip
        return {row.id: row.text for row in self.connection.execute(_TEXTS, wanted)}

    def _neighbours(self, sample: Example, *, before: int = 0, after: int = 0) -> list[Example]:
        statement, bound = (_BEFORE, -CONTEXT) if before else (_AFTER, CONTEXT)
        wanted = {"dataset": sample.dataset_id, "moment": sample.created_at, "id": sample.id,
                  "bound": sample.created_at + bound, "sender": sample.sender,
                  "scanned": _CONTEXT_SCANNED, "wanted": before or after}  # fmt: skip
        ids: Sequence[str] = self.connection.execute(statement, wanted).scalars().all()
        examples = Examples(self.connection)
        found = [example for i in ids if (example := examples.one(sample.dataset_id, i))]
        return found[::-1] if before else found
