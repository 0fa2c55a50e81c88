"""What an erasure found and did, place by place."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere that a sender's words may be."""

    name: str
    found: int = 0
    """Examples, events, letters or files of the sender."""
    erased: int = 0
    note: str = ""
    """What it was, or why something is left."""
    failed: bool = False
    """It could not be looked at, or not be changed: mend that, and erase again."""


@dataclass(frozen=True, slots=True)
class ErasureReport:
    """All places in the order in which they were looked at, and what nobody can erase from here."""

    places: tuple[Place, ...]
    remains: tuple[str, ...]
    """Where copies may be that only time or somebody else removes."""
    erased_at: datetime | None = None
    """What the sender wrote until then is not taken any more; None after a dry run."""

    @property
    def is_complete(self) -> bool:
        """Whether every place could be dealt with."""
        return not any(place.failed for place in self.places)
