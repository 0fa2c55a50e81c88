"""How long calls took: quantiles of any number of durations in bounded memory."""

from __future__ import annotations

from collections import Counter

_STEPS = 16
"""Buckets between a power of two and the next: a quantile is at most 1/16 too high."""


class Latency:
    """A histogram whose buckets grow with the durations that they hold."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()

    def add(self, nanoseconds: int) -> None:
        """Count one duration."""
        self._buckets[_bound(nanoseconds)] += 1

    def quantile_us(self, share: float) -> float | None:
        """Return in microseconds what a share of the calls did not exceed; None without calls."""
        rest = share * self._buckets.total()
        for bound in sorted(self._buckets):
            rest -= self._buckets[bound]
            if rest <= 0:
                return bound / 1_000
        return None


def _bound(nanoseconds: int) -> int:
    """Return the upper bound of the bucket that holds a duration."""
    width = 1 << max(0, nanoseconds.bit_length() - _STEPS.bit_length())
    return (nanoseconds // width + 1) * width
