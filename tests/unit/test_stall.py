"""When a worker is stalled: work to do, nobody waiting, nothing moving."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intentloop_schemas import TopicPartition
from intentloop_stream.stall import Stall, StallDetector, Standing
from support.batches import PARTITION, partition

STORED = Standing(fetched=10, delivered=10, taken=10, due=10, safe=10)
UNREAD = STORED._replace(fetched=9)
UNKNOWN = STORED._replace(fetched=None)
IN_TRANSIT = STORED._replace(taken=9, due=9, safe=9)
CLOSED = STORED._replace(safe=9)
OPEN = STORED._replace(due=9, safe=9)
END = {PARTITION: 10}


class Looks:
    """A look each second."""

    def __init__(self, patience: float = 60, longest_step: float = 2) -> None:
        self._detector = StallDetector(patience, longest_step)
        self._clock = count()

    def at(
        self,
        standing: Standing | Mapping[TopicPartition, Standing],
        ends: Mapping[TopicPartition, int] = END,
        *,
        seconds: int = 1,
        excuse: str | None = None,
    ) -> Stall | None:
        """Return what the last of so many looks finds."""
        standings = {PARTITION: standing} if isinstance(standing, Standing) else standing
        found = None
        for _ in range(seconds):
            found = self._detector.observe(next(self._clock), standings, ends, excuse)
        return found


@pytest.mark.parametrize(
    ("standing", "done"),
    [(UNREAD, "read"), (UNKNOWN, "read"), (IN_TRANSIT, "read"), (CLOSED, "stored")],
)
def test_work_that_waits_for_longer_than_the_patience_is_a_stall(
    standing: Standing, done: str
) -> None:
    looks = Looks()
    assert looks.at(standing, seconds=60) is None
    assert looks.at(standing) == Stall(done, 60, {PARTITION: 10 - standing.safe})


def test_reading_on_is_no_progress_when_nothing_is_stored() -> None:
    looks = Looks()
    for position in range(60):
        assert looks.at(Standing(position, position, position, position, 0)) is None
    stall = looks.at(Standing(60, 60, 60, 60, 0))
    assert stall is not None
    assert stall.done == "stored"


@pytest.mark.parametrize("standing", [STORED, OPEN])
def test_nothing_to_do_is_no_stall(standing: Standing) -> None:
    assert Looks().at(standing, seconds=1_000) is None


def test_an_end_that_nobody_knows_is_no_work() -> None:
    assert Looks().at(UNREAD, ends={}, seconds=1_000) is None


def test_no_partition_at_all_is_no_stall() -> None:
    assert Looks().at({}, seconds=1_000) is None


@pytest.mark.parametrize(("standing", "moves"), [(IN_TRANSIT, "taken"), (CLOSED, "safe")])
def test_progress_begins_the_patience_anew(standing: Standing, moves: str) -> None:
    looks = Looks()
    ends = {PARTITION: 20}
    standing = Standing(*(20 + position - 10 for position in standing))._replace(fetched=20)
    behind = standing._replace(**{moves: getattr(standing, moves) - 1})
    assert looks.at(behind, ends, seconds=60) is None
    assert looks.at(standing, ends, seconds=60) is None
    assert looks.at(standing, ends) is not None


def test_progress_of_one_partition_speaks_for_the_worker() -> None:
    looks = Looks()
    ends = {PARTITION: 10, partition(1): 1_000}
    for position in range(200):
        moving = Standing(1_000, 1_000, 1_000, 1_000, position)
        assert looks.at({PARTITION: CLOSED, partition(1): moving}, ends) is None


def test_reading_the_same_records_again_and_again_is_no_progress() -> None:
    looks = Looks()
    back = Standing(5, 5, 5, 5, 5)
    found = [looks.at(standing) for _ in range(40) for standing in (back, IN_TRANSIT)]
    assert found[-1] is not None


def test_a_declared_wait_is_no_stall_and_begins_the_patience_anew() -> None:
    looks = Looks()
    assert looks.at(CLOSED, seconds=59) is None
    assert looks.at(CLOSED, excuse="the database is away", seconds=1_000) is None
    assert looks.at(CLOSED, seconds=59) is None
    assert looks.at(CLOSED) is not None


def test_a_partition_that_comes_back_is_judged_afresh() -> None:
    looks = Looks()
    assert looks.at(CLOSED, seconds=59) is None
    assert looks.at({}) is None
    assert looks.at(CLOSED, seconds=60) is None


def test_a_worker_that_was_frozen_is_given_the_chance_to_go_on() -> None:
    detector = StallDetector(60, longest_step=10)
    standings = {PARTITION: CLOSED}
    assert detector.observe(0, standings, END) is None
    assert detector.observe(10, standings, END) is None
    assert detector.observe(3_600, standings, END) is None
    for now in range(3_610, 3_640, 10):
        assert detector.observe(now, standings, END) is None
    assert detector.observe(3_640, standings, END) is not None


def test_the_message_says_how_long_and_where() -> None:
    stall = Stall("stored", 61.2, {partition(3): 7, PARTITION: 1_234})
    assert str(stall) == (
        "nothing was stored for 61 s, though records wait (by partition, 0: 1234, 3: 7)"
    )


positions = st.integers(0, 20)


@given(st.lists(st.builds(Standing, positions, positions, positions, positions, positions)))
def test_whoever_makes_progress_at_each_look_is_never_ended(standings: list[Standing]) -> None:
    looks = Looks(patience=2)
    for number, standing in enumerate(standings):
        assert looks.at(standing._replace(taken=number, safe=number)) is None
