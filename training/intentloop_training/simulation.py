"""What reviewing is worth: models trained on more and more labels, chosen in one way or another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import NamedTuple

from intentloop_schemas import ReviewRule
from intentloop_training.corpora import Labelled, lessons
from intentloop_training.model import IntentModel
from intentloop_training.parameters import Parameters
from intentloop_training.queue import review_order
from intentloop_training.trainer import train

Choose = Callable[[IntentModel, Sequence[Labelled], Random], list[int]]
"""Puts unlabelled texts into an order of review."""


class Point(NamedTuple):
    """A point of a learning curve: so many labels, this accuracy from 0 to 1."""

    labels: int
    accuracy: float


def by_queue(model: IntentModel, pool: Sequence[Labelled], _rng: Random) -> list[int]:
    """Review what the review queue proposes."""
    return review_order(model.parse([text for text, _ in pool]), ReviewRule())


def at_random(_model: IntentModel, pool: Sequence[Labelled], rng: Random) -> list[int]:
    """Review whatever comes."""
    return rng.sample(range(len(pool)), len(pool))


def learning_curve(
    pool: Sequence[Labelled],
    test: Sequence[Labelled],
    choose: Choose,
    *,
    per_intent: int,
    per_round: int,
    rounds: int,
    seed: int,
) -> Iterator[Point]:
    """Yield a point before each round of reviews and one after the last.

    Starts with `per_intent` labels of each intent, the same for every way to choose. In each round
    a reviewer who is always right labels `per_round` texts of the pool. Blocks while training.
    """
    rng = Random(seed)  # noqa: S311 - a simulation
    labelled, unlabelled = _start(pool, per_intent, rng)
    for number in range(rounds + 1):
        model = train(lessons(labelled), Parameters(seed=seed), f"round-{number}").model
        yield Point(len(labelled), accuracy(model, test))
        chosen = set(choose(model, unlabelled, rng)[:per_round])
        labelled += [unlabelled[position] for position in sorted(chosen)]
        unlabelled = [one for position, one in enumerate(unlabelled) if position not in chosen]


def accuracy(model: IntentModel, test: Sequence[Labelled]) -> float:
    """Return the share of texts whose intent the model gets right."""
    predictions = model.parse([text for text, _ in test])
    right = sum(p.intent == one.intent for p, one in zip(predictions, test, strict=True))
    return right / len(test)


def _start(
    pool: Sequence[Labelled], per_intent: int, rng: Random
) -> tuple[list[Labelled], list[Labelled]]:
    shuffled = rng.sample(list(pool), len(pool))
    taken: dict[str, int] = defaultdict(int)
    labelled: list[Labelled] = []
    unlabelled: list[Labelled] = []
    for one in shuffled:
        is_needed = taken[one.intent] < per_intent
        taken[one.intent] += is_needed
        (labelled if is_needed else unlabelled).append(one)
    return labelled, unlabelled
