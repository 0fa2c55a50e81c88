"""Windows begin at multiples of their length; lateness follows the log alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intentloop_schemas.statistics import window_start
from intentloop_stream.processing import Watermark
from intentloop_stream.processing.watermark import ALLOWED_LATENESS_MS, MAX_CLOCK_LEAD_MS

DAY = 86_400
timestamps = st.integers(946_684_800_000, 4_102_444_800_000)
lengths = st.sampled_from([seconds for seconds in range(1, DAY + 1) if DAY % seconds == 0])


@given(timestamps, lengths)
def test_a_window_holds_its_events_and_begins_at_a_multiple_of_its_length(
    timestamp: int, seconds: int
) -> None:
    start = window_start(timestamp, seconds)

    assert start % (seconds * 1000) == 0
    assert start <= timestamp < start + seconds * 1000


@pytest.mark.parametrize(
    ("timestamp", "start"), [(29_999, 0), (30_000, 30_000), (59_999, 30_000), (60_000, 60_000)]
)
def test_the_edge_belongs_to_the_later_window(timestamp: int, start: int) -> None:
    assert window_start(timestamp, 30) == start


def test_an_event_is_late_once_its_window_ended_by_the_allowed_lateness() -> None:
    end = 1_698_345_630_000
    event = end - 1

    assert not Watermark(end + ALLOWED_LATENESS_MS - 1).pass_by(event, event, 30_000)
    assert Watermark(end + ALLOWED_LATENESS_MS).pass_by(event, event, 30_000)


@given(timestamps, timestamps, lengths)
def test_only_what_ended_before_the_watermark_is_late(
    highest: int, timestamp: int, seconds: int
) -> None:
    window_end = window_start(timestamp, seconds) + seconds * 1000
    is_late = Watermark(highest).pass_by(timestamp, timestamp, seconds * 1000)

    assert is_late == (window_end <= highest - ALLOWED_LATENESS_MS)


@given(timestamps, st.integers(-100_000, 200_000))
def test_a_timestamp_far_ahead_of_kafka_does_not_move_the_watermark(
    logged_at: int, lead: int
) -> None:
    watermark = Watermark()
    watermark.pass_by(logged_at + lead, logged_at, 30_000)

    assert watermark.highest == (logged_at + lead if lead <= MAX_CLOCK_LEAD_MS else 0)


@given(st.lists(timestamps, min_size=1))
def test_the_watermark_never_goes_back(times: list[int]) -> None:
    watermark, seen = Watermark(), 0
    for time in times:
        watermark.pass_by(time, time, 30_000)
        assert watermark.highest >= seen
        seen = watermark.highest
    assert seen == max(times)


@given(st.lists(st.tuples(timestamps, st.integers(-200_000, 200_000))), timestamps)
def test_passing_many_moves_it_as_far_as_passing_one_after_the_other(
    events: list[tuple[int, int]], highest: int
) -> None:
    one, all_ = Watermark(highest), Watermark(highest)
    pairs = [(timestamp, timestamp - lead) for timestamp, lead in events]
    for timestamp, logged_at in pairs:
        one.pass_by(timestamp, logged_at, 30_000)
    all_.pass_all(pairs)

    assert all_ == one
