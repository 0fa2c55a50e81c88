"""Pages of examples: out of an index, of a bounded cost, and of two stores as of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from intentloop_sink import PostgresSink, Stored
from intentloop_sink.catalogue import (
    Catalogue,
    Cursor,
    Example,
    ExampleFilter,
    FileReader,
    Page,
    PostgresCatalogue,
)
from intentloop_sink.catalogue.overlay import merged
from intentloop_sink.spool import Spool
from support.batches import batch, entry

DATASET = "ds-auto-training"
ENTRIES = [
    entry(i, timestamp=1_700_000_000_000 + i // 3, confidence=0.3 if i % 10 == 0 else 0.9)
    for i in range(60)
]


@pytest.fixture(params=["postgres", "files"])
def catalogue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalogue]:
    if request.param == "files":
        with Spool(tmp_path, "w") as spool:
            spool.append([batch(ENTRIES)])
            with (
                closing(FileReader(tmp_path, window_seconds=30)) as reader,
                reader.reading() as catalogue,
            ):
                yield catalogue
        return
    with in_postgres(request.getfixturevalue("database_url")) as catalogue:
        yield catalogue


@contextmanager
def in_postgres(url: str) -> Iterator[Catalogue]:
    with closing(PostgresSink(url, window_seconds=30, writer="w")) as sink:
        assert isinstance(sink.store(sink.prepare([batch(ENTRIES)])), Stored)
    with closing(PostgresCatalogue(url)) as store, store.reading() as catalogue:
        yield catalogue


def test_a_rare_filter_finds_all_in_pages_of_a_bounded_cost(catalogue: Catalogue) -> None:
    rare = ExampleFilter(max_confidence=0.5)
    found: list[Example] = []
    before, pages = None, 0
    while True:
        page = catalogue.examples.page(DATASET, rare, limit=4, before=before, max_scanned=7)
        found += page.examples
        pages += 1
        if page.next is None:
            break
        before = page.next

    newest_first = sorted(ENTRIES, key=lambda e: (e.event.timestamp, e.example_id), reverse=True)
    assert [e.id for e in found] == [e.example_id for e in newest_first if e.reasons]
    assert pages >= 60 / 7


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (ExampleFilter(), "Example_newest"),
        (ExampleFilter(tag="needs_review"), "Example_review_queue"),
        (ExampleFilter(intent="cancel"), "Example_newest"),
        (ExampleFilter(q="order", channel="web"), "Example_newest"),
    ],
)
def test_pages_come_out_of_an_index(database_url: str, wanted: ExampleFilter, index: str) -> None:
    asked: list[tuple[str, Any]] = []
    with in_postgres(database_url) as catalogue:
        connection = catalogue.connection
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        connection.exec_driver_sql("SET LOCAL enable_sort = off")
        event.listen(
            connection,
            "before_cursor_execute",
            lambda _c, _cursor, sql, values, _context, _many: asked.append((sql, values)),
        )
        page = catalogue.examples.page(DATASET, ExampleFilter(), limit=5)
        asked.clear()
        catalogue.examples.page(DATASET, wanted, limit=5, before=page.next)
        statements = asked.copy()
        for sql, values in statements:
            plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {sql}", values).scalars())
            assert index in plan, plan
            assert "Seq Scan" not in plan


def example(number: int) -> Example:
    """Make an example; two at a time are of the same moment."""
    at = datetime(2026, 3, 1, 12, number // 2, tzinfo=UTC)
    words = (f"ex-{number}", DATASET, "nlu", "text", "intent", [], at, f"e-{number}", "intent")
    return Example(*words, 0.9, [], "sender", "web", None, "", None, None, None, None)


EXAMPLES = [example(number) for number in range(12)]


@settings(suppress_health_check=[HealthCheck.differing_executors])
@given(
    st.lists(st.sampled_from(EXAMPLES), unique_by=lambda e: e.id),
    st.lists(st.sampled_from(EXAMPLES), unique_by=lambda e: e.id),
    st.integers(1, 5),
)
def test_pages_of_two_stores_are_those_of_their_union(
    stored: list[Example], waiting: list[Example], limit: int
) -> None:
    expected = newest({e.id: e for e in [*stored, *waiting]}.values())
    found: list[Example] = []
    before: Cursor | None = None
    while True:
        page = merged(cut(stored, limit, before), cut(waiting, limit, before), limit)
        assert len(page.examples) <= limit
        found += page.examples
        if page.next is None:
            break
        before = page.next

    assert found == expected


def newest(examples: Any) -> list[Example]:
    return sorted(examples, key=lambda example: example.cursor, reverse=True)


def cut(examples: list[Example], limit: int, before: Cursor | None) -> Page:
    behind = [e for e in newest(examples) if before is None or e.cursor < before]
    return Page(behind[:limit], behind[limit - 1].cursor if len(behind) > limit else None)
