"""What a review of the queue's proposals is worth beside one at random, over several seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from intentloop_training.corpora import Corpus, Labelled
from intentloop_training.prediction import OUT_OF_SCOPE
from intentloop_training.simulation import Choose, at_random, by_queue, learning_curve

LABELS_PER_INTENT = 5
SEEDS = 5


class CurveSettings(NamedTuple):
    """How much is reviewed, and how often all of it is repeated."""

    per_round: int
    rounds: int
    seeds: int = SEEDS

    @classmethod
    def for_corpus(cls, corpus: Corpus) -> CurveSettings:
        """Return rounds of about three reviews an intent."""
        intents = len({intent for _, intent in corpus.training})
        return cls(per_round=3 * intents // 10 * 10, rounds=5)


class Step(NamedTuple):
    """So many labels, and the accuracies of each seed."""

    labels: int
    queue: list[float]
    chance: list[float]


def curves(corpus: Corpus, settings: CurveSettings, say: Callable[[str], None]) -> Iterator[Step]:
    """Return both curves. In-scope texts alone: what is out of scope has no label to review."""
    pool, test = _in_scope(corpus.training), _in_scope(corpus.test)

    def run(choose: Choose, seed: int) -> list[tuple[int, float]]:
        say(f"{corpus.name}: {choose.__name__}, seed {seed}")
        return list(
            learning_curve(
                pool,
                test,
                choose,
                per_intent=LABELS_PER_INTENT,
                per_round=settings.per_round,
                rounds=settings.rounds,
                seed=seed,
            )
        )

    queue = [run(by_queue, seed) for seed in range(settings.seeds)]
    chance = [run(at_random, seed) for seed in range(settings.seeds)]
    for position in range(settings.rounds + 1):
        yield Step(
            queue[0][position][0],
            [curve[position][1] for curve in queue],
            [curve[position][1] for curve in chance],
        )


def _in_scope(texts: list[Labelled]) -> list[Labelled]:
    return [one for one in texts if one.intent != OUT_OF_SCOPE]
