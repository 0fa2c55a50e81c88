"""A simulated reviewer: decides cards as a person does, with what the customers really meant."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from intentloop_demo.traffic import Message
from intentloop_schemas.event import DEFAULT_DATASET
from intentloop_sink.catalogue import PostgresCatalogue
from intentloop_sink.review import (
    SIMULATION,
    Card,
    Decide,
    Queue,
    ReviewQueue,
    SkipCard,
    State,
    TakeCard,
    Verdict,
    normalise,
)
from intentloop_training.prediction import OUT_OF_SCOPE

_SKIPPED = timedelta(days=1)


@dataclass
class Truth:
    """What customers meant by their words, at each step of the dialogue."""

    _meant: dict[tuple[str, str], str] = field(default_factory=dict)

    def hear(self, message: Message) -> None:
        """Remember what a message means."""
        self._meant[normalise(message.text), message.step] = message.meant

    def of(self, text: str, step: str) -> str | None:
        """Return the intent behind a text; None when no customer has said it."""
        return self._meant.get((normalise(text), step))


def verdict(predicted: str, meant: str) -> tuple[Verdict, str | None]:
    """Return what a reviewer says of a prediction, and the intent of a correction."""
    if predicted == meant:
        return Verdict.ACCEPT, None
    if meant == OUT_OF_SCOPE:
        return Verdict.OUT_OF_SCOPE, None
    return Verdict.CORRECT, meant


class Reviewer:
    """Makes the edits that the review page makes, as `simulation`.

    What it decides is tagged `simulated`. Cards whose words it has not heard, such as those of an
    earlier run, it skips: they are for people, and so are the last `left_to_people` flagged ones.
    Every call blocks, and raises intentloop_sink.DatabaseUnavailableError.
    """

    def __init__(
        self,
        catalogue: PostgresCatalogue,
        truth: Truth,
        *,
        left_to_people: int = 0,
        dataset_id: str = DEFAULT_DATASET,
    ) -> None:
        self._catalogue = catalogue
        self._truth = truth
        self._left_to_people = left_to_people
        self._dataset_id = dataset_id

    def review(self, limit: int) -> int:
        """Look at up to `limit` cards; return how many were decided."""
        decided = 0
        for _ in range(limit):
            card = self._take(Queue.FLAGGED) or self._take(Queue.AUDIT)
            if card is None:
                break
            decided += self._decide(card)
        return decided

    def _take(self, queue: Queue) -> Card | None:
        if queue is Queue.FLAGGED and self._waiting() <= self._left_to_people:
            return None
        card_id = self._catalogue.apply(
            TakeCard(
                dataset_id=self._dataset_id,
                queue=queue,
                state=State.OPEN,
                session=SIMULATION,
                reviewer=SIMULATION,
            )
        )
        if card_id is None:
            return None
        with self._catalogue.reading() as catalogue:
            view = ReviewQueue(catalogue.connection).view(card_id)
        return view.card if view else None

    def _waiting(self) -> int:
        with self._catalogue.reading() as catalogue:
            queue = ReviewQueue(catalogue.connection)
            return queue.length(self._dataset_id, Queue.FLAGGED, State.OPEN)

    def _decide(self, card: Card) -> int:
        meant = self._truth.of(card.text, card.step)
        if meant is None:
            until = datetime.now(UTC) + _SKIPPED
            skip = SkipCard(card_id=card.id, session=SIMULATION, reviewer=SIMULATION, until=until)
            self._catalogue.apply(skip)
            return 0
        said, intent = verdict(card.predicted_intent, meant)
        decided = self._catalogue.apply(
            Decide(
                card_ids=[card.id],
                verdict=said,
                intent=intent,
                session=SIMULATION,
                reviewer=SIMULATION,
                group=uuid.uuid4().hex,
            )
        )
        return len(decided.cards)
