"""Two catalogues as one: the database, and what waits in files to go into it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from intentloop_sink.catalogue.catalogue import Catalogue
from intentloop_sink.catalogue.datasets import Dataset, Datasets
from intentloop_sink.catalogue.examples import MAX_SCANNED, Example, Examples, Page
from intentloop_sink.catalogue.filters import Cursor, ExampleFilter


class Overlay(Catalogue):
    """The database's catalogue with examples that are not there yet.

    Statistics follow as soon as they are stored, within seconds.
    """

    def __init__(self, main: Catalogue, waiting: Catalogue) -> None:
        super().__init__(main.connection)
        self._waiting = waiting

    @cached_property
    def datasets(self) -> Datasets:
        """Datasets and their sizes."""
        return _Datasets(self.connection, self._waiting.datasets)

    @cached_property
    def examples(self) -> Examples:
        """Examples, page by page."""
        return _Examples(self.connection, self._waiting.examples)


@dataclass(frozen=True)
class _Datasets(Datasets):
    waiting: Datasets

    def all(self, ids: Collection[str] | None = None) -> list[Dataset]:
        found = {dataset.id: dataset for dataset in super().all(ids)}
        for new in self.waiting.all(ids):
            known = found.get(new.id)
            found[new.id] = replace(known, size=known.size + new.size) if known else new
        return sorted(found.values(), key=lambda dataset: dataset.id)


@dataclass(frozen=True)
class _Examples(Examples):
    waiting: Examples

    def one(self, dataset_id: str, example_id: str) -> Example | None:
        return super().one(dataset_id, example_id) or self.waiting.one(dataset_id, example_id)

    def page(
        self,
        dataset_id: str,
        wanted: ExampleFilter,
        *,
        limit: int,
        before: Cursor | None = None,
        max_scanned: int = MAX_SCANNED,
    ) -> Page:
        options: Any = {"limit": limit, "before": before, "max_scanned": max_scanned}
        main = super().page(dataset_id, wanted, **options)
        waiting = self.waiting.page(dataset_id, wanted, **options)
        return merged(main, waiting, limit)


def merged(main: Page, other: Page, limit: int) -> Page:
    """Return one page of two; an example that is in both is taken from the first.

    What lies behind the end of a page that has a next one is left out: others may come before it.
    """
    examples = {example.id: example for example in (*other.examples, *main.examples)}
    ordered = sorted(examples.values(), key=lambda example: example.cursor, reverse=True)
    end = max((page.next for page in (main, other) if page.next), default=None)
    kept = [example for example in ordered if end is None or example.cursor >= end]
    if len(kept) > limit:
        return Page(kept[:limit], kept[limit - 1].cursor)
    return Page(kept, end)
