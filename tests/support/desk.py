"""A review queue on a real Postgres, what is put into it, and reviewers at it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from intentloop_schemas import Entry
from intentloop_sink import PostgresSink, Stored
from intentloop_sink.catalogue import PostgresCatalogue
from intentloop_sink.review import (
    Card,
    Decide,
    Queue,
    ReviewQueue,
    TakeCard,
    TendQueue,
    UndoDecision,
    Verdict,
)
from support import tables
from support.batches import batch, entry

DATASET = "ds-auto-training"


class Desk:
    """A queue, and reviewers at it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.catalogue = PostgresCatalogue(url)
        self.sink = PostgresSink(url, window_seconds=30, writer="test")
        self.position = 0

    def receive(self, *entries: Entry) -> None:
        """Store entries and make cards of them."""
        outcome = self.sink.store(self.sink.prepare([batch(list(entries), self.position)]))
        assert isinstance(outcome, Stored), outcome
        self.position = entries[-1].record.offset + 1
        self.tend()

    def tend(self) -> int:
        """Make cards of all that waits for it; return of how many examples."""
        examples = 0
        while True:
            tended = self.catalogue.apply(TendQueue())
            examples += tended.examples
            if not tended.more:
                return examples

    def take(self, session: str = "browser", **wanted: Any) -> Card | None:
        """Ask for a card as a browser does."""
        given = {"dataset_id": DATASET, "queue": Queue.FLAGGED, "reviewer": session, **wanted}
        card_id = self.catalogue.apply(TakeCard(session=session, **given))
        return None if card_id is None else self.card(card_id)

    def card(self, card_id: str) -> Card:
        with self.catalogue.reading() as catalogue:
            view = ReviewQueue(catalogue.connection).view(card_id)
        assert view is not None
        return view.card

    def decide(self, card: Card, verdict: Verdict, session: str = "browser", **fields: Any) -> Any:
        """Decide a card, in a group of its own unless one is given."""
        group = fields.pop("group", uuid.uuid4().hex)
        return self.catalogue.apply(
            Decide(card_ids=[card.id], verdict=verdict, session=session, reviewer=session,
                   group=group, **fields)
        )  # fmt: skip

    def undo(self, session: str = "browser") -> list[str]:
        """Take back the last decision; return the ids of its cards."""
        since = datetime.now(UTC) - timedelta(hours=1)
        return self.catalogue.apply(UndoDecision(reviewer=session, since=since))

    def examples(self) -> list[tuple[Any, ...]]:
        """Return what a decision can change of each example, oldest first."""
        return tables.query(
            self.url,
            'SELECT input, intent, "predictedIntent", tags[4:] FROM "Example" ORDER BY "createdAt"',
        )


def unsure(offset: int, text: str, confidence: float = 0.4, **fields: Any) -> Entry:
    """Make an entry that is flagged for its confidence."""
    return entry(offset, message_text=text, confidence=confidence, **fields)
