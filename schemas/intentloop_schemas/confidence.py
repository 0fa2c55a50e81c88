"""A confidence in whole numbers: exact to add up and to compare."""

from __future__ import annotations


def to_micros(confidence: float) -> int:
    """Return a confidence in millionths, rounded half up."""
    return int(confidence * 1e6 + 0.5)


def to_percent(confidence: float) -> int:
    """Return a confidence in whole percent, rounded half up."""
    return int(100 * confidence + 0.5)
