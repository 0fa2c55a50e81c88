"""Confidence statistics of one intent in one tumbling window, as integers.

Confidences are summed in micros (millionths), so that neither the order of events nor the way they
are grouped into transactions changes a single digit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from intentloop_schemas.batch import Entry
from intentloop_schemas.confidence import to_micros

HISTOGRAM_BINS = 20
_BIN_WIDTH_MICROS = 1_000_000 // HISTOGRAM_BINS
HOUR_SECONDS = 3600


def histogram_bin(micros: int) -> int:
    """Return which of the 20 bins of width 0.05 a confidence falls in; 1.0 goes into the last."""
    return min(micros // _BIN_WIDTH_MICROS, HISTOGRAM_BINS - 1)


def window_start(timestamp_ms: int, window_seconds: int) -> int:
    """Return the start, in epoch ms, of the tumbling window that holds a timestamp."""
    return timestamp_ms - timestamp_ms % (window_seconds * 1000)


class WindowKey(NamedTuple):
    """What one row of statistics is about; `window_start` in epoch ms."""

    dataset_id: str
    intent: str
    channel: str
    model_version: str
    window_start: int
    window_seconds: int


@dataclass(slots=True)
class WindowStatistics:
    """Sums over the events of one window. Timestamps are event times in epoch ms."""

    n: int = 0
    flagged_n: int = 0
    low_confidence_n: int = 0
    fallback_n: int = 0
    late_n: int = 0
    confidence_sum_micros: int = 0
    confidence_sumsq_micros: int = 0
    confidence_min_micros: int = 1_000_000
    confidence_max_micros: int = 0
    confidence_histogram: list[int] = field(default_factory=lambda: [0] * HISTOGRAM_BINS)
    first_event_at: int = 2**62
    last_event_at: int = 0

    def add(self, entry: Entry) -> None:
        """Count one event."""
        micros = to_micros(entry.event.confidence)
        timestamp = entry.event.timestamp
        self.n += 1
        self.confidence_sum_micros += micros
        self.confidence_sumsq_micros += micros * micros
        self.confidence_histogram[histogram_bin(micros)] += 1
        if entry.reasons:
            self.flagged_n += 1
            self.low_confidence_n += "low_confidence" in entry.reasons
            self.fallback_n += "fallback_intent" in entry.reasons
        if entry.late:
            self.late_n += 1
        if micros < self.confidence_min_micros:
            self.confidence_min_micros = micros
        if micros > self.confidence_max_micros:
            self.confidence_max_micros = micros
        if timestamp < self.first_event_at:
            self.first_event_at = timestamp
        if timestamp > self.last_event_at:
            self.last_event_at = timestamp

    def merge(self, other: WindowStatistics) -> WindowStatistics:
        """Return the statistics of both sets of events together."""
        return WindowStatistics(
            n=self.n + other.n,
            flagged_n=self.flagged_n + other.flagged_n,
            low_confidence_n=self.low_confidence_n + other.low_confidence_n,
            fallback_n=self.fallback_n + other.fallback_n,
            late_n=self.late_n + other.late_n,
            confidence_sum_micros=self.confidence_sum_micros + other.confidence_sum_micros,
            confidence_sumsq_micros=self.confidence_sumsq_micros + other.confidence_sumsq_micros,
            confidence_min_micros=min(self.confidence_min_micros, other.confidence_min_micros),
            confidence_max_micros=max(self.confidence_max_micros, other.confidence_max_micros),
            confidence_histogram=[
                a + b
                for a, b in zip(self.confidence_histogram, other.confidence_histogram, strict=True)
            ],
            first_event_at=min(self.first_event_at, other.first_event_at),
            last_event_at=max(self.last_event_at, other.last_event_at),
        )


def fold_windows(
    entries: Iterable[Entry], window_seconds: int
) -> dict[WindowKey, WindowStatistics]:
    """Return the statistics of each window that `entries` touch."""
    # Plain tuples while counting: making a named one costs more than looking it up.
    windows: dict[tuple[str, str, str, str, int], WindowStatistics] = {}
    length = window_seconds * 1000
    for entry in entries:
        event = entry.event
        timestamp = event.timestamp
        key = (
            event.dataset_id,
            event.intent,
            event.channel,
            event.model_version or "",
            timestamp - timestamp % length,
        )
        statistics = windows.get(key)
        if statistics is None:
            statistics = windows[key] = WindowStatistics()
        statistics.add(entry)
    return {WindowKey(*key, window_seconds): s for key, s in windows.items()}


def roll_up(
    windows: dict[WindowKey, WindowStatistics], window_seconds: int
) -> dict[WindowKey, WindowStatistics]:
    """Return the same statistics in longer windows, of which the shorter ones are divisors."""
    longer: dict[WindowKey, WindowStatistics] = {}
    for key, statistics in windows.items():
        start = window_start(key.window_start, window_seconds)
        target = WindowKey(*key[:4], start, window_seconds)
        known = longer.get(target)
        longer[target] = known.merge(statistics) if known else statistics
    return longer
