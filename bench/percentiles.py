"""Percentiles of measurements, by the nearest rank: always a value that was measured."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

CURVE = (1, 5, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.99)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the least value that `percent` of the ordered values do not exceed."""
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)]


def summary(values: Sequence[float], digits: int = 2) -> dict[str, float]:
    """Return p50, p90, p99, p99.9 and the greatest."""
    ordered = sorted(values)
    wanted = {"p50": 50, "p90": 90, "p99": 99, "p999": 99.9, "max": 100}
    return {name: round(percentile(ordered, percent), digits) for name, percent in wanted.items()}


def curve(values: Sequence[float]) -> list[tuple[float, float]]:
    """Return (percentile, value) from the first to the last."""
    ordered = sorted(values)
    return [(percent, round(percentile(ordered, percent), 2)) for percent in CURVE]
