"""The few statistics that evaluation and gate need, each with its source."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import exp, fsum, lgamma, log, log1p, sqrt
from statistics import fmean
from typing import NamedTuple, TypeVar

T = TypeVar("T")

_Z_95 = 1.959963984540054
CALIBRATION_BINS = 15


class Interval(NamedTuple):
    """Where a proportion lies, with 95 % confidence."""

    low: float
    high: float


class Bin(NamedTuple):
    """Predictions of like confidence: how many, how sure on average, how often right."""

    size: int
    confidence: float
    accuracy: float


def wilson(successes: int, trials: int) -> Interval:
    """Return the 95 % interval of a proportion (Wilson 1927); all of 0 to 1 without trials."""
    if trials == 0:
        return Interval(0.0, 1.0)
    share, z2 = successes / trials, _Z_95**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z_95 / (1 + z2 / trials) * sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def calibration_bins(confidences: Sequence[float], is_right: Sequence[bool]) -> list[Bin]:
    """Return the bins of equal width that hold predictions, from unsure to sure."""
    bins: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for confidence, right in zip(confidences, is_right, strict=True):
        place = min(int(confidence * CALIBRATION_BINS), CALIBRATION_BINS - 1)
        bins[place].append((confidence, right))
    return [
        Bin(len(some), fmean(sure for sure, _ in some), fmean(right for _, right in some))
        for _, some in sorted(bins.items())
    ]


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """Return the mean distance of confidence and accuracy, weighted by count.

    Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", 2017, equation 3,
    with 15 bins of equal width as there.
    """
    total = sum(bin_.size for bin_ in bins)
    return sum(bin_.size * abs(bin_.accuracy - bin_.confidence) for bin_ in bins) / max(total, 1)


def at_least(successes: int, trials: int, probability: float) -> float:
    """Return the chance of that many successes or more: the upper tail of the binomial."""
    if successes <= 0 or probability >= 1:
        return 1.0
    # In logarithms, because the binomial coefficients soon exceed what a float holds.
    success, failure = log(probability), log1p(-probability)
    tail = fsum(
        exp(_log_choose(trials, k) + k * success + (trials - k) * failure)
        for k in range(successes, trials + 1)
    )
    return min(1.0, tail)


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def mcnemar_worse(lost: int, won: int) -> float:
    """Return the p-value that a change for the worse is chance: the exact one-sided test.

    McNemar 1947 in its exact form: of the examples that only one of the two models gets right,
    `lost` are right in the old model alone and `won` in the new one alone; were the models equally
    good, each would be as likely as a coin's side.
    """
    return at_least(lost, lost + won, 0.5)


def holm(p_values: Mapping[T, float], level: float, hypotheses: int | None = None) -> list[T]:
    """Return which hypotheses are rejected when all together may err with chance `level`.

    Holm, "A simple sequentially rejective multiple test procedure", 1979. `hypotheses` counts
    also those that were not worth a p-value, because it would be 1.
    """
    remaining = hypotheses or len(p_values)
    rejected = []
    for hypothesis, p_value in sorted(p_values.items(), key=lambda item: item[1]):
        if p_value > level / remaining:
            break
        rejected.append(hypothesis)
        remaining -= 1
    return rejected
