"""One request on its way into the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from intentloop_schemas import Entry


@dataclass(slots=True, eq=False)
class Post:
    """The valid conversations of one request, and what became of them."""

    entries: list[Entry]
    lines: Mapping[str, str] = field(default_factory=dict)
    """What the store encoded ahead, by example id."""
    errors: dict[int, str] = field(default_factory=dict)
    """Why the store refused an entry, by the `id()` of the entry."""
