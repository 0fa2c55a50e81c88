"""How often the model is right, judged by the audit. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import sqrt
from typing import NamedTuple

from intentloop_sink.review.audit import Audited

Z_95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""
BINS = 10
TARGET_PRECISION = 0.9
MIN_JUDGED = 30


class Interval(NamedTuple):
    """Where a share lies with 95 % confidence; both from 0 to 1."""

    low: float
    high: float


class Precision(NamedTuple):
    """How many of an intent's audited predictions were right."""

    intent: str
    right: int
    judged: int
    interval: Interval

    @property
    def share(self) -> float:
        """The share that was right."""
        return self.right / self.judged


class CalibrationBin(NamedTuple):
    """Predictions of about the same confidence, and how often they were right."""

    mean_confidence: float
    right: int
    judged: int
    interval: Interval

    @property
    def share(self) -> float:
        """The share that was right; a calibrated model is right as often as it is sure."""
        return self.right / self.judged


class Suggestion(NamedTuple):
    """A threshold, and how often predictions at or above it were right."""

    threshold: float
    right: int
    judged: int
    interval: Interval


def wilson_interval(successes: int, trials: int, z: float = Z_95) -> Interval:
    """Return Wilson's score interval of a share (E. B. Wilson, JASA 22, 1927, pp. 209-212).

    Unlike the textbook interval it keeps its word with few trials and shares near 0 or 1. Raises
    ValueError unless 0 <= successes <= trials and trials > 0.
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"{successes} of {trials} is no share")
    share, weight = successes / trials, z * z / trials
    centre = (share + weight / 2) / (1 + weight)
    reach = z * sqrt(share * (1 - share) / trials + weight / (4 * trials)) / (1 + weight)
    return Interval(max(0.0, centre - reach), min(1.0, centre + reach))


def precision_by_intent(audited: Iterable[Audited]) -> list[Precision]:
    """Return the precision of each intent, the least precise first."""
    groups: dict[str, list[bool]] = defaultdict(list)
    for one in audited:
        groups[one.predicted_intent].append(one.is_right)
    found = [
        Precision(intent, sum(right), len(right), wilson_interval(sum(right), len(right)))
        for intent, right in groups.items()
    ]
    return sorted(found, key=lambda p: (p.interval.low, p.intent))


def calibration(audited: Iterable[Audited], bins: int = BINS) -> list[CalibrationBin]:
    """Return bins of equal width that hold something, the least confident first.

    The reliability diagram of DeGroot and Fienberg (The Statistician 32, 1983).
    """
    groups: dict[int, list[Audited]] = defaultdict(list)
    for one in audited:
        groups[min(int(one.confidence * bins), bins - 1)].append(one)
    return [_bin(groups[number]) for number in sorted(groups)]


def suggested_threshold(
    audited: Sequence[Audited],
    target: float = TARGET_PRECISION,
    min_judged: int = MIN_JUDGED,
) -> Suggestion | None:
    """Return the lowest confidence from which predictions are surely right often enough.

    "Surely" means that the lower end of Wilson's interval reaches the target. None when there are
    fewer than `min_judged` or no threshold is high enough.
    """
    ordered = sorted(audited, key=lambda one: one.confidence, reverse=True)
    best, right = None, 0
    for judged, one in enumerate(ordered, 1):
        right += one.is_right
        is_last_of_its_confidence = (
            judged == len(ordered) or ordered[judged].confidence < one.confidence
        )
        if judged >= min_judged and is_last_of_its_confidence:
            interval = wilson_interval(right, judged)
            if interval.low >= target:
                best = Suggestion(one.confidence, right, judged, interval)
    return best


def _bin(members: Sequence[Audited]) -> CalibrationBin:
    right = sum(one.is_right for one in members)
    mean = sum(one.confidence for one in members) / len(members)
    return CalibrationBin(mean, right, len(members), wilson_interval(right, len(members)))
