"""What the worker waits for, as the parts that wait declare it."""

from __future__ import annotations


class Backpressure:
    """Declared waits. While there is one, standing still is no stall.

    Written on the event loop, read by the watchdog's thread.
    """

    def __init__(self) -> None:
        self._waits: dict[str, str] = {}

    def declare(self, part: str, reason: str) -> None:
        """Say that a part waits for something outside of this process."""
        self._waits[part] = reason

    def end(self, part: str) -> None:
        """Say that a part goes on."""
        self._waits.pop(part, None)

    @property
    def reason(self) -> str | None:
        """What is waited for, None when nothing is."""
        return "; ".join(list(self._waits.values())) or None
