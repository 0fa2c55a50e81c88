"""Labels that contradict each other: what a careless or malicious review leaves behind.

A wrong label stands in the holdout as well as in the lessons, so no figure on the holdout shows it.
But models that were trained on the other texts contradict it confidently, and the more often, the
more of an intent's labels are wrong (the idea of confident learning: Northcutt et al. 2021).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from pydantic import Field

from intentloop_training.report import Report
from intentloop_training.statistics import at_least, holm

if TYPE_CHECKING:
    # Training takes seconds to import.
    from intentloop_training.trainer import CrossCheck

CONFIDENT = 0.7
_MIN_DOUBTED = 3
_USUAL_SHARE = 0.02
_USUAL_PAIR_SHARE = 0.005
"""Fewer doubtful labels, or up to these shares of an intent's messages, alarm nobody."""


class Doubts(Report):
    """The reviewed lessons that the cross-check calls an intent, being surer than CONFIDENT.

    `confident` is how many there are, `otherwise` how many of them have another label, by label,
    and `expected` how many would have one were the cross-check exactly as right as it is sure.
    """

    confident: int = 0
    expected: float = 0.0
    otherwise: dict[str, int] = Field(default_factory=dict)

    @property
    def doubted(self) -> int:
        """How many have any other label."""
        return sum(self.otherwise.values())

    def share(self, count: float) -> float:
        """Return a count as a share of all."""
        return count / max(self.confident, 1)


class Contradiction(NamedTuple):
    """Messages that read like `intent`: `doubted` of `confident` are labelled otherwise.

    As `label`, or as anything else when that is None.
    """

    intent: str
    label: str | None
    doubted: int
    confident: int

    def __str__(self) -> str:
        label = f"as {self.label}" if self.label else "otherwise"
        return (
            f"labels of {self.intent} contradict each other: {self.doubted} of {self.confident} "
            f"messages that read like it are labelled {label}"
        )


def doubts(check: CrossCheck) -> dict[str, Doubts]:
    """Count doubtful labels intent by intent."""
    confident = Counter[str]()
    expected: dict[str, float] = defaultdict(float)
    otherwise: dict[str, Counter[str]] = defaultdict(Counter)
    answers = zip(check.lessons, check.predicted.tolist(), check.confidence, strict=True)
    for lesson, predicted, confidence in answers:
        if lesson.reviewed and confidence > CONFIDENT:
            confident[predicted] += 1
            expected[predicted] += 1 - confidence
            if lesson.intent != predicted:
                otherwise[predicted][lesson.intent] += 1
    return {
        intent: Doubts(
            confident=count,
            expected=expected[intent],
            otherwise=dict(sorted(otherwise[intent].items())),
        )
        for intent, count in sorted(confident.items())
    }


def new_contradictions(
    before: Mapping[str, Doubts], now: Mapping[str, Doubts], level: float
) -> list[Contradiction]:
    """Return where labels are doubted significantly more often than before.

    One-sided binomial tests for each intent, against the share before, the share that the
    cross-check itself expects, or the share over all intents, whichever is the highest; and for
    each pair of an intent and a label, because a misunderstanding always gives the same wrong
    label. Each family has half of the level and is corrected by Holm.
    """
    overall = _overall_share(now)

    def p_value(one: Contradiction) -> float:
        earlier, found = before.get(one.intent, Doubts()), now[one.intent]
        if one.label is None:
            shares = (_USUAL_SHARE, overall, earlier.share(earlier.doubted))
            usual = max(*shares, found.share(found.expected))
        else:
            usual = max(_USUAL_PAIR_SHARE, earlier.share(earlier.otherwise.get(one.label, 0)))
        return at_least(one.doubted, one.confident, usual)

    intents = {one: p_value(one) for one in _by_intent(now) if one.doubted >= _MIN_DOUBTED}
    pairs = {one: p_value(one) for one in _by_pair(now) if one.doubted >= _MIN_DOUBTED}
    return [
        *holm(intents, level / 2, hypotheses=len(now)),
        *holm(pairs, level / 2, hypotheses=len(now) ** 2),
    ]


def _by_intent(now: Mapping[str, Doubts]) -> Iterator[Contradiction]:
    for intent, found in now.items():
        yield Contradiction(intent, None, found.doubted, found.confident)


def _by_pair(now: Mapping[str, Doubts]) -> Iterator[Contradiction]:
    for intent, found in now.items():
        for label, count in found.otherwise.items():
            yield Contradiction(intent, label, count, found.confident)


def _overall_share(now: Mapping[str, Doubts]) -> float:
    confident = sum(found.confident for found in now.values())
    return sum(found.doubted for found in now.values()) / max(confident, 1)
