"""The loop, quickly: traffic, review, retrain, promote, and again; in one process, on files.

The reviewer is simulated: it always knows the true label, because the traffic is made from it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from rich.table import Table

from intentloop_demo.traffic import Customers, Message
from intentloop_demo.typing_noise import with_slip
from intentloop_demo.utterances import Utterance, load_utterances, split
from intentloop_training.build import build
from intentloop_training.evaluation import Rate, is_flagged
from intentloop_training.examples import LabelledExample, Snapshot
from intentloop_training.model import IntentModel
from intentloop_training.prediction import Prediction
from intentloop_training.progress import untold
from intentloop_training.queue import review_order
from intentloop_training.recipe import Recipe
from intentloop_training.registry import ModelRegistry

DATASET = "ds-loop"
SEED_LABELS = 5
CONVERSATIONS = 400
REVIEWS = 150
AUDIT_SHARE = 0.2
"""This share of the reviews goes to messages at random, so that the holdout sees easy ones too."""
_START_MS = 1_700_000_000_000
_ROUND_MS = 3_600_000


@dataclass(frozen=True)
class Round:
    """One turn of the loop. `accuracy` is the current model's on unseen, misspelt utterances."""

    number: int
    labels: int
    accuracy: Rate
    flagged: Rate
    version: str
    verdict: str


class NoFirstModelError(Exception):
    """The first model did not pass the gate, so that there is nothing to improve."""


@dataclass
class Loop:
    """A bot that begins with five labels of each intent and learns from its own traffic.

    `folder` takes the models. The same seed gives the same rounds.
    """

    folder: Path
    seed: int = 1
    recipe: Recipe = field(default_factory=Recipe)

    def __post_init__(self) -> None:
        self._rng = Random(self.seed)
        taught, unseen = split(load_utterances())
        self._customers = Customers(taught, self._rng)
        self._test = [(with_slip(one.text, self._rng), one.intent) for one in unseen]
        self._registry = ModelRegistry(self.folder, DATASET)
        self._rows = _seed_examples(taught, self._rng)

    def run(self, rounds: int) -> Iterator[Round]:
        """Yield where things stand before the first round and after each. A few seconds a round.

        Raises NoFirstModelError.
        """
        verdict = self._train(0)
        for number in range(rounds + 1):
            model = self._current()
            messages = self._traffic(number)
            predictions = model.parse([message.text for message in messages])
            flagged = sum(is_flagged(prediction, self.recipe.review) for prediction in predictions)
            yield Round(
                number=number,
                labels=sum(row.reviewed for row in self._rows),
                accuracy=self._accuracy(model),
                flagged=Rate.from_counts(flagged, len(messages)),
                version=model.version,
                verdict=verdict,
            )
            if number < rounds:
                self._rows += self._reviewed(messages, predictions)
                verdict = self._train(number + 1)

    def _current(self) -> IntentModel:
        model = self._registry.load_current()
        if model is None:
            raise NoFirstModelError("the first model was not promoted")
        return model

    def _train(self, number: int) -> str:
        at = _time(_START_MS + number * _ROUND_MS)
        snapshot = Snapshot.of(DATASET, at, self._rows)
        card = build(
            snapshot,
            self._registry,
            f"nlu-{self.seed}-{number:03d}",
            self.recipe,
            now=lambda: at,
            progress=untold,
        )
        if card.verdict.passed:
            self._registry.promote_instead_of(card.compared_with, card.version)
            return "promoted"
        return f"not promoted: {'; '.join(card.verdict.reasons)}"

    def _traffic(self, number: int) -> list[Message]:
        start = _START_MS + number * _ROUND_MS
        return [
            message
            for _ in range(CONVERSATIONS)
            for message in self._customers.converse(start + self._rng.randrange(_ROUND_MS))
        ]

    def _reviewed(
        self, messages: Sequence[Message], predictions: Sequence[Prediction]
    ) -> list[LabelledExample]:
        """Return the traffic as examples; the reviewer has corrected the most doubtful ones."""
        audits = round(REVIEWS * AUDIT_SHARE)
        proposed = review_order(predictions, self.recipe.review)[: REVIEWS - audits]
        chosen = {*proposed, *self._rng.sample(range(len(messages)), audits)}
        return [
            _example(message, prediction, reviewed=position in chosen)
            for position, (message, prediction) in enumerate(
                zip(messages, predictions, strict=True)
            )
        ]

    def _accuracy(self, model: IntentModel) -> Rate:
        predictions = model.parse([text for text, _ in self._test])
        right = sum(
            prediction.intent == intent
            for prediction, (_, intent) in zip(predictions, self._test, strict=True)
        )
        return Rate.from_counts(right, len(self._test))


def table(rounds: Sequence[Round]) -> Table:
    """Return the rounds as a table with the curve."""
    result = Table(title="Reviews by a simulated reviewer who knows the true labels")
    for name in ("round", "labels", "accuracy on misspelt, unseen texts", "flagged"):
        result.add_column(name, justify="right")
    result.add_column("model")
    for one in rounds:
        result.add_row(
            str(one.number), str(one.labels), _shown(one.accuracy), _shown(one.flagged), one.verdict
        )
    return result


def _shown(rate: Rate) -> str:
    low, high = rate.interval
    return f"{rate.value:.1%} ({low:.1%} to {high:.1%})"


def _seed_examples(utterances: Sequence[Utterance], rng: Random) -> list[LabelledExample]:
    by_intent: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        by_intent[utterance.intent].append(utterance)
    return [
        LabelledExample(
            id=f"seed-{intent}-{number}",
            text=utterance.text,
            intent=intent,
            predicted_intent=intent,
            confidence=1.0,
            reviewed=True,
            created_at=_time(_START_MS),
            language=utterance.language,
        )
        for intent, some in sorted(by_intent.items())
        for number, utterance in enumerate(rng.sample(some, SEED_LABELS))
    ]


def _example(message: Message, prediction: Prediction, *, reviewed: bool) -> LabelledExample:
    return LabelledExample(
        id=f"{message.timestamp}-{message.message_id}",
        text=message.text,
        intent=message.meant if reviewed else prediction.intent,
        predicted_intent=prediction.intent,
        confidence=prediction.confidence,
        reviewed=reviewed,
        created_at=_time(message.timestamp),
        step=message.step,
        language=message.language,
        simulated=reviewed,
    )


def _time(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, tz=UTC)
