"""Whether confidences are distributed as they used to be. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from math import log
from typing import NamedTuple

MIN_COUNT = 100
"""Fewer events than this on either side say nothing."""
MIN_IN_BIN = 10
"""Bins of the reference that hold fewer are merged with their neighbours."""
_MODERATE, _LARGE = 0.1, 0.25
_PRIOR = 0.5


class Verdict(StrEnum):
    """What is made of an index."""

    STABLE = "stable"
    MODERATE = "moderate"
    LARGE = "large"


class Drift(NamedTuple):
    """The population stability index, and from how many events it comes."""

    psi: float
    reference_count: int
    current_count: int

    @property
    def verdict(self) -> Verdict:
        """Below 0.1 nothing happened, from 0.25 on much did (Siddiqi 2006, chapter 9)."""
        if self.psi < _MODERATE:
            return Verdict.STABLE
        return Verdict.MODERATE if self.psi < _LARGE else Verdict.LARGE


def drift(reference: Sequence[int], current: Sequence[int]) -> Drift | None:
    """Return the population stability index of two histograms with the same bins.

    sum((c - r) * ln(c / r)) over the shares of the bins: the symmetrised Kullback-Leibler
    divergence (Siddiqi, "Credit Risk Scorecards", 2006). Half an event is added to each bin, so
    that an empty one does not make it infinite. None when either has under 100 events, or when
    the reference fills fewer than two bins: the index would be noise.
    """
    if min(sum(reference), sum(current)) < MIN_COUNT:
        return None
    merged = _merged(reference, current)
    if len(merged) < 2:  # noqa: PLR2004 - one bin is no distribution
        return None
    expected = _shares([r for r, _ in merged])
    actual = _shares([c for _, c in merged])
    index = sum((a - e) * log(a / e) for e, a in zip(expected, actual, strict=True))
    return Drift(index, sum(reference), sum(current))


def _merged(reference: Sequence[int], current: Sequence[int]) -> list[tuple[int, int]]:
    """Join neighbouring bins until each holds enough of the reference."""
    merged: list[tuple[int, int]] = []
    expected = actual = 0
    for r, c in zip(reference, current, strict=True):
        expected, actual = expected + r, actual + c
        if expected >= MIN_IN_BIN:
            merged.append((expected, actual))
            expected = actual = 0
    if merged and (expected or actual):
        last = merged.pop()
        merged.append((last[0] + expected, last[1] + actual))
    return merged


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts) + _PRIOR * len(counts)
    return [(count + _PRIOR) / total for count in counts]
