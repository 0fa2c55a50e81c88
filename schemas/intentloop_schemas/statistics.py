"""Confidence statistics of one intent in one tumbling window, as integers.

Confidences are summed in micros (millionths), so that neither the order of events nor the way they
are grouped into transactions changes a single digit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from intentloop_schemas.batch import Entry
from intentloop_schemas.confidence import to_micros

HISTOGRAM_BINS = 20
_BIN_WIDTH_MICROS = 1_000_000 // HISTOGRAM_BINS
HOUR_SECONDS = 3600


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

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> WindowStatistics:
        """Return the statistics of one event or more, all of the same window."""
        micros = [to_micros(entry.event.confidence) for entry in entries]
        times = [entry.event.timestamp for entry in entries]
        flagged = [entry.reasons for entry in entries if entry.reasons]
        return cls(
            n=len(entries),
            flagged_n=len(flagged),
            low_confidence_n=sum("low_confidence" in reasons for reasons in flagged),
            fallback_n=sum("fallback_intent" in reasons for reasons in flagged),
            late_n=sum(entry.late for entry in entries),
            confidence_sum_micros=sum(micros),
            confidence_sumsq_micros=sum(value * value for value in micros),
            confidence_min_micros=min(micros),
            confidence_max_micros=max(micros),
            confidence_histogram=_histogram(micros),
            first_event_at=min(times),
            last_event_at=max(times),
        )

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
    # Plain tuples while grouping: making a named one costs more than looking it up.
    groups: defaultdict[tuple[str, str, str, str, int], list[Entry]] = defaultdict(list)
    length = window_seconds * 1000
    for entry in entries:
        event = entry.event
        timestamp = event.timestamp
        groups[
            event.dataset_id,
            event.intent,
            event.channel,
            event.model_version or "",
            timestamp - timestamp % length,
        ].append(entry)
    return {
        WindowKey(*key, window_seconds): WindowStatistics.of(group) for key, group in groups.items()
    }


def _histogram(micros: Iterable[int]) -> list[int]:
    """Count confidences in 20 bins of width 0.05; 1.0 goes into the last."""
    counts = [0] * (HISTOGRAM_BINS + 1)
    for value in micros:
        counts[value // _BIN_WIDTH_MICROS] += 1
    certain = counts.pop()
    counts[-1] += certain
    return counts


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
