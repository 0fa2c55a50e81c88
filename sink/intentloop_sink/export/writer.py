"""What every format does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from intentloop_sink.export.provenance import Provenance, Tally
from intentloop_sink.export.row import Row


class Writer(Protocol):
    """Turns rows into the bytes of one file, piece by piece. What was handed out is forgotten."""

    def begin(self, provenance: Provenance) -> bytes:
        """Return what comes before the rows."""
        ...

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Return what some rows come to; it may be handed out later."""
        ...

    def end(self, provenance: Provenance, tally: Tally) -> bytes:
        """Return what comes behind the rows."""
        ...
