"""Where the catalogue is kept: in Postgres, or in files."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from intentloop_sink.catalogue.catalogue import Catalogue
from intentloop_sink.catalogue.edit import Edit

R = TypeVar("R")


class ReadableStore(Protocol):
    """Answers questions. Blocks."""

    def reading(self) -> AbstractContextManager[Catalogue]:
        """Yield the catalogue as it is.

        Raises DatabaseUnavailableError when it cannot be reached.
        """
        ...

    def close(self) -> None:
        """Let go of connections and files."""
        ...


class CatalogueStore(ReadableStore, Protocol):
    """Takes edits, too."""

    def apply(self, edit: Edit[R]) -> R:
        """Make a change, all of it or nothing; it is safe when this returns.

        Raises DatabaseUnavailableError when the catalogue cannot be reached.
        """
        ...
