"""Where examples come from: one state of the database, or files, page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from intentloop_sink.catalogue.catalogue import Catalogue
from intentloop_sink.catalogue.examples import MAX_PAGE, Example
from intentloop_sink.catalogue.filters import ExampleFilter


class ExampleSource(Protocol):
    """Examples, some at a time. Everything blocks.

    Raises DatabaseUnavailableError when they cannot be reached.
    """

    @property
    def as_of(self) -> datetime:
        """The time of the state that is read."""
        ...

    def count(self, dataset_id: str, wanted: ExampleFilter) -> int:
        """Return how many examples there are."""
        ...

    def examples(
        self, dataset_id: str, wanted: ExampleFilter, *, by_intent: bool
    ) -> Iterator[list[Example]]:
        """Yield them, the newest first, or intent by intent."""
        ...


@dataclass(frozen=True)
class SnapshotSource:
    """One transaction, which sees nothing of what happens meanwhile."""

    catalogue: Catalogue
    as_of: datetime

    def count(self, dataset_id: str, wanted: ExampleFilter) -> int:
        """Return how many examples there are."""
        return self.catalogue.examples.count(dataset_id, wanted)

    def examples(
        self, dataset_id: str, wanted: ExampleFilter, *, by_intent: bool
    ) -> Iterator[list[Example]]:
        """Yield them, the newest first, or intent by intent."""
        return self.catalogue.examples.stream(dataset_id, wanted, by_intent=by_intent)


@dataclass(frozen=True)
class PagedSource:
    """A question for each page, so that nobody waits for a slow reader.

    What comes or goes meanwhile may be in it or not.
    """

    reading: Callable[[], AbstractContextManager[Catalogue]]
    as_of: datetime

    def count(self, dataset_id: str, wanted: ExampleFilter) -> int:
        """Return how many examples there are."""
        with self.reading() as catalogue:
            return catalogue.examples.count(dataset_id, wanted)

    def examples(
        self, dataset_id: str, wanted: ExampleFilter, *, by_intent: bool
    ) -> Iterator[list[Example]]:
        """Yield them, the newest first, or intent by intent."""
        if not by_intent:
            yield from self._pages(dataset_id, wanted)
            return
        with self.reading() as catalogue:
            labels = catalogue.examples.labels(dataset_id)
        for label in labels if wanted.intent is None else [wanted.intent]:
            yield from self._pages(dataset_id, wanted.model_copy(update={"intent": label}))

    def _pages(self, dataset_id: str, wanted: ExampleFilter) -> Iterator[list[Example]]:
        before = None
        while True:
            with self.reading() as catalogue:
                page = catalogue.examples.page(dataset_id, wanted, limit=MAX_PAGE, before=before)
            yield page.examples
            before = page.next
            if before is None:
                return
