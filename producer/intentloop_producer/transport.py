"""What the logger needs from a way to the destination."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

KAFKA = "kafka"
HTTP = "http"


class Failure(NamedTuple):
    """Why an event was not delivered."""

    why: str
    is_final: bool = True
    """False when it may be delivered another time."""


Settle = Callable[[Failure | None], None]
"""Takes the end of an event's way: None when it was delivered, else what went wrong."""


class Transport(Protocol):
    """Carries events. One thread makes it, uses it and lets go of it.

    Each event or report that was taken is settled exactly once, from within `send`, `report`,
    `poll` or `flush`.
    """

    def send(self, key: bytes, value: bytes, settle: Settle) -> bool:
        """Take an event without waiting; False when there is no room for it now."""
        ...

    def report(self, key: bytes, value: bytes, settle: Settle) -> None:
        """Take a report of the logger itself without waiting; it may get lost."""
        ...

    def poll(self, seconds: float) -> None:
        """Settle what is over; waits up to `seconds` for something to settle."""
        ...

    def flush(self, seconds: float) -> None:
        """Wait up to `seconds` until everything is settled; gather nothing meanwhile."""
        ...

    def close(self) -> None:
        """Let go of connections and threads; nothing is settled any more."""
        ...


Connect = Callable[[Callable[[str], None]], Transport]
"""Makes a transport, given what to tell about passing trouble. It may raise when misconfigured."""


@dataclass(frozen=True, slots=True)
class Route:
    """A way to a destination, and the destination's name in the log."""

    destination: str
    connect: Connect
    transport: str = "custom"
    """What it is called in the logger's reports."""
