"""One request on its way into the store."""

from __future__ import annotations

from dataclasses import dataclass, field

from intentloop_schemas import Entry, Event


@dataclass(slots=True)
class Received:
    """What stands for a record of the log; it gets its offset when it is stored."""

    event: Event
    timestamp: int
    """When it came, epoch ms."""
    offset: int = -1

    @property
    def key(self) -> bytes:
        """The sender, as in Kafka."""
        return self.event.phone_number.encode()

    @property
    def value(self) -> bytes:
        """The event, as in Kafka."""
        return self.event.to_json()


@dataclass(slots=True, eq=False)
class Post:
    """The valid conversations of one request, and what became of them."""

    entries: list[Entry]
    errors: dict[int, str] = field(default_factory=dict)
    """Why the store refused an entry, by the `id()` of the entry."""
