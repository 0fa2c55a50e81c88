"""Event time of one partition: how far it has come, and which events are late."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

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

    def pass_by(self, timestamp: int, logged_at: int, window_ms: int) -> bool:
        """Tell whether the window that holds an event time was already over, then move on to it.

        A time far ahead of the record's Kafka timestamp, `logged_at`, moves nothing.
        """
        highest = self.highest
        if timestamp > highest:
            if timestamp <= logged_at + MAX_CLOCK_LEAD_MS:
                self.highest = timestamp
            return False
        window_end = timestamp - timestamp % window_ms + window_ms
        return window_end <= highest - ALLOWED_LATENESS_MS

    def pass_all(self, events: Iterable[tuple[int, int]]) -> None:
        """Move on as `pass_by` does, for many pairs of event time and Kafka timestamp."""
        believed = [time for time, logged_at in events if time <= logged_at + MAX_CLOCK_LEAD_MS]
        self.highest = max([self.highest, *believed])
