"""How good a model is on examples that it has not seen and whose label a person has checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from intentloop_schemas import Alternative, ReviewRule
from intentloop_training.examples import LabelledExample
from intentloop_training.prediction import Nlu, Prediction
from intentloop_training.report import Report
from intentloop_training.statistics import (
    Bin,
    Interval,
    calibration_bins,
    expected_calibration_error,
    wilson,
)

MOST_CONFUSED = 10


class Rate(Report):
    """A share with its 95 % interval (Wilson 1927)."""

    value: float
    of: int
    interval: Interval

    @classmethod
    def from_counts(cls, successes: int, trials: int) -> Rate:
        """Return successes / trials; 0 without trials, with an interval of 0 to 1."""
        value = successes / trials if trials else 0.0
        return cls(value=value, of=trials, interval=wilson(successes, trials))


class IntentFigures(Report):
    """How one intent fares: of what was called so, what was so; of what was so, what was found."""

    intent: str
    precision: Rate
    recall: Rate
    f1: float


class Confusion(Report):
    """How often one intent was taken for another."""

    intent: str
    predicted: str
    count: int


class Evaluation(Report):
    """The figures of a model on a holdout."""

    size: int
    accuracy: Rate
    macro_f1: float
    calibration_error: float
    calibration: list[Bin]
    intents: list[IntentFigures]
    confusions: list[Confusion]


class Judgement(NamedTuple):
    """One example of the holdout, and what a model made of it."""

    example: LabelledExample
    prediction: Prediction

    @property
    def is_right(self) -> bool:
        """Whether the model's answer is the label."""
        return self.prediction.intent == self.example.intent


def judge(nlu: Nlu, examples: Sequence[LabelledExample]) -> list[Judgement]:
    """Let a model answer each example."""
    predictions = nlu.parse([example.text for example in examples])
    return [Judgement(*pair) for pair in zip(examples, predictions, strict=True)]


def evaluate(judgements: Sequence[Judgement]) -> Evaluation:
    """Return the figures over all judgements; all zero without any."""
    right = [judgement.is_right for judgement in judgements]
    bins = calibration_bins([j.prediction.confidence for j in judgements], right)
    pairs = Counter((j.example.intent, j.prediction.intent) for j in judgements)
    intents = _by_intent(pairs)
    return Evaluation(
        size=len(judgements),
        accuracy=Rate.from_counts(sum(right), len(right)),
        macro_f1=sum(figures.f1 for figures in intents) / max(len(intents), 1),
        calibration_error=expected_calibration_error(bins),
        calibration=bins,
        intents=intents,
        confusions=_confusions(pairs),
    )


def review_rate(nlu: Nlu, examples: Sequence[LabelledExample], rule: ReviewRule) -> Rate:
    """Return the share of messages that would be flagged if this model answered them."""
    predictions = nlu.parse([example.text for example in examples])
    flagged = sum(is_flagged(prediction, rule) for prediction in predictions)
    return Rate.from_counts(flagged, len(examples))


def is_flagged(prediction: Prediction, rule: ReviewRule) -> bool:
    """Tell whether a person should look at what the model made of a message."""
    others = [
        Alternative(intent=guess.intent, confidence=guess.confidence)
        for guess in prediction.alternatives
    ]
    return bool(rule.reasons(prediction.intent, prediction.confidence, others))


def _by_intent(pairs: Counter[tuple[str, str]]) -> list[IntentFigures]:
    """Return the figures of every intent that some example of the holdout has."""
    labels, answers = Counter[str](), Counter[str]()
    for (label, answer), count in pairs.items():
        labels[label] += count
        answers[answer] += count
    return [
        IntentFigures(
            intent=intent,
            precision=Rate.from_counts(pairs[intent, intent], answers[intent]),
            recall=Rate.from_counts(pairs[intent, intent], labels[intent]),
            f1=2 * pairs[intent, intent] / (labels[intent] + answers[intent]),
        )
        for intent in sorted(labels)
    ]


def _confusions(pairs: Counter[tuple[str, str]]) -> list[Confusion]:
    wrong = [(pair, count) for pair, count in pairs.items() if pair[0] != pair[1]]
    wrong.sort(key=lambda item: (-item[1], item[0]))
    return [
        Confusion(intent=intent, predicted=predicted, count=count)
        for (intent, predicted), count in wrong[:MOST_CONFUSED]
    ]
