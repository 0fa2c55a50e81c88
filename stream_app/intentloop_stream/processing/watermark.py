"""Event time of one partition: how far it has come, and which events are late."""

from __future__ import annotations

from dataclasses import dataclass

from intentloop_schemas.statistics import window_start

ALLOWED_LATENESS_MS = 5_000
"""An event may be this much older than the newest one before its window counts as over."""
MAX_CLOCK_LEAD_MS = 60_000
"""A sender's clock may run this much ahead of Kafka's before it is not believed."""


@dataclass(slots=True)
class Watermark:
    """The highest event time, in epoch ms, at lower offsets of a partition.

    It depends on nothing but the log up to a position, so a replay judges every event alike.
    """

    highest: int = 0

    def is_late(self, timestamp: int, window_seconds: int) -> bool:
        """Tell whether the window that holds an event time was already over."""
        window_end = window_start(timestamp, window_seconds) + window_seconds * 1000
        return window_end <= self.highest - ALLOWED_LATENESS_MS

    def observe(self, timestamp: int, logged_at: int) -> None:
        """Move on to an event's time, unless it is far ahead of the record's Kafka timestamp."""
        if self.highest < timestamp <= logged_at + MAX_CLOCK_LEAD_MS:
            self.highest = timestamp
