"""Whether a partition adds up: its rows, its log and its spools against each other."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intentloop_cli.reconcile import HoledRange, Log, account, table
from intentloop_sink.queries import Reconciled
from intentloop_sink.spool import Run

ROW = Reconciled(
    topic="conversations",
    topic_id="t-1",
    partition=0,
    first_position=10,
    next_position=100,
    stored=80,
    duplicates=5,
    rejected=3,
    lost=2,
    holes=0,
    gaps=0,
    adds_up=True,
)


def run(first: int, end: int) -> Run:
    return Run(first, end, 0)


def test_a_stored_log_adds_up() -> None:
    found = account(ROW, Log(10, 100), [])
    assert (found.log_end, found.stored, found.duplicates, found.rejected) == (100, 80, 5, 3)
    assert (found.spooled, found.lost, found.open) == (0, 2, 0)
    assert found.problems == ()


def test_what_is_in_kafka_alone_is_open() -> None:
    found = account(ROW, Log(50, 130), [])
    assert (found.open, found.problems) == (30, ())


def test_what_is_spooled_is_not_open_even_when_kafka_has_deleted_it() -> None:
    found = account(ROW, Log(120, 130), [run(100, 120)])
    assert (found.spooled, found.open, found.problems) == (20, 10, ())


def test_what_is_spooled_and_stored_counts_as_stored() -> None:
    found = account(ROW, Log(10, 130), [run(40, 60), run(90, 110)])
    assert (found.spooled, found.open) == (10, 20)


def test_what_is_spooled_before_the_first_position_waits_too() -> None:
    found = account(ROW, Log(10, 100), [run(2, 15)])
    assert (found.spooled, found.open) == (8, 0)


def test_what_kafka_deleted_before_anybody_kept_it_does_not_add_up() -> None:
    found = account(ROW, Log(125, 130), [run(110, 120)])
    assert (found.spooled, found.open) == (10, 20)
    (problem,) = found.problems
    assert "deleted 15 positions" in problem


def test_records_before_the_first_position_do_not_add_up() -> None:
    (problem,) = account(ROW, Log(3, 100), []).problems
    assert "7 positions before the first one were never read" in problem


def test_a_store_that_is_ahead_of_its_log_does_not_add_up() -> None:
    (problem,) = account(ROW, Log(10, 90), []).problems
    assert "stands at 100" in problem


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"gaps": 2}, "at 2 places"),
        ({"holes": -4}, "4 records more"),
        ({"next_position": None}, "ingest_offset does not say"),
    ],
)
def test_what_the_database_itself_cannot_add_up_is_said(changes: dict[str, int], says: str) -> None:
    problems = account(replace(ROW, **changes), None, []).problems
    assert len(problems) == 1
    assert says in problems[0]


@pytest.mark.parametrize(("in_kafka", "adds_up"), [(5, True), (4, True), (6, False)])
def test_a_hole_that_holds_a_record_does_not_add_up(in_kafka: int, *, adds_up: bool) -> None:
    row = replace(ROW, holes=2)
    found = account(row, Log(10, 100), [], [HoledRange(20, accounted=5, in_kafka=in_kafka)])
    assert bool(found.problems) is not adds_up


def test_a_line_without_a_log_is_judged_by_the_database_alone() -> None:
    found = account(ROW, None, [run(100, 110)])
    assert (found.log_end, found.spooled, found.open, found.problems) == (None, 10, 0, ())


def test_lines_without_a_log_are_shown_as_one() -> None:
    lines = [account(replace(ROW, topic="http", topic_id=f"h-{n}"), None, []) for n in range(3)]
    shown = table([account(ROW, Log(10, 100), []), *lines])
    assert shown.row_count == 2
    assert list(shown.columns[3].cells) == ["80", "240"]


edges = st.lists(st.integers(0, 60), min_size=2, max_size=8, unique=True).map(sorted)


@given(edges, st.integers(0, 60), st.integers(0, 60))
def test_every_position_behind_the_store_is_spooled_or_open(
    edges: list[int], stands_at: int, end: int
) -> None:
    runs = [run(*pair) for pair in zip(edges[::2], edges[1::2], strict=False)]
    row = replace(ROW, first_position=0, next_position=stands_at)
    found = account(row, Log(0, end), runs)
    spooled = {p for r in runs for p in range(r.first_position, r.next_position) if p >= stands_at}
    assert found.spooled == len(spooled)
    assert found.open == len(set(range(stands_at, end)) - spooled)
