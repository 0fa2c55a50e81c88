"""A storm: when it begins, when it is over, who is told, and what stops before it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from intentloop_schemas import DeadLetterReason
from intentloop_stream.storm import StormDetector, StormError, StormWatch

JSON, EVENT = DeadLetterReason.INVALID_JSON, DeadLetterReason.INVALID_EVENT
REFUSED = DeadLetterReason.REFUSED_BY_DATABASE

outcomes = st.lists(st.sampled_from([None, None, JSON, EVENT]), max_size=200)


def feed(detector: StormDetector, reasons: Iterable[DeadLetterReason | None]) -> list[int]:
    """Return the numbers of the records with which a storm began."""
    began = []
    for number, reason in enumerate(reasons):
        if reason is None:
            detector.good()
        elif detector.bad(reason):
            began.append(number)
    return began


def watch(*, stop: bool = False, share: float = 0.5, records: int = 100) -> StormWatch:
    return StormWatch(share, records, stop=stop)


@given(outcomes, st.integers(1, 50), st.sampled_from([0.1, 0.5, 0.9]))
def test_a_storm_is_what_a_naive_window_says(
    reasons: Sequence[DeadLetterReason | None], records: int, share: float
) -> None:
    detector = StormDetector(share, records)
    in_storm = False
    for number, reason in enumerate(reasons):
        feed(detector, [reason])
        window = reasons[max(0, number + 1 - records) : number + 1]
        bad = sum(1 for each in window if each)
        in_storm = bad > share * records / (2 if in_storm else 1)
        assert detector.in_storm == in_storm
        assert detector.window().bad == bad
        assert sum(detector.window().counts.values()) == bad


@given(outcomes, st.integers(1, 50))
def test_good_records_count_alike_one_by_one_or_together(
    reasons: Sequence[DeadLetterReason | None], records: int
) -> None:
    singly, together = StormDetector(0.5, records), StormDetector(0.5, records)
    feed(singly, reasons)
    ends = [number for number, reason in enumerate(reasons) if reason]
    for start, end in pairwise([-1, *ends, len(reasons)]):
        together.good(end - start - 1)
        if end < len(reasons):
            together.bad(reasons[end] or JSON)

    assert singly.window() == together.window()


def test_it_begins_with_the_first_record_over_the_share_and_once_an_episode() -> None:
    detector = StormDetector(0.5, 10)

    assert feed(detector, [JSON] * 5) == []
    assert feed(detector, [JSON] * 20) == [0]
    assert feed(detector, [None] * 4 + [JSON] * 6) == []
    assert feed(detector, [None] * 10) == []
    assert not detector.in_storm
    assert feed(detector, [JSON] * 6) == [5]


def test_a_few_bad_records_in_a_quiet_topic_are_no_storm() -> None:
    assert feed(StormDetector(0.5, 1_000), [JSON] * 500) == []


def test_with_a_share_of_one_there_is_never_a_storm() -> None:
    assert feed(StormDetector(1, 10), [JSON] * 100) == []


def test_a_person_is_told_once_with_counts_the_commonest_reason_and_what_to_do() -> None:
    storms = watch()
    with capture_logs() as logs:
        storms.decoded([None] * 50 + [EVENT] * 20 + [JSON] * 200)
        storms.decoded([None] * 100)

    alarm, over = logs
    assert alarm["event"] == "dead_letter_storm"
    assert alarm["log_level"] == "critical"
    assert (alarm["bad"], alarm["records"]) == (51, 100)
    assert alarm["counts"] == {JSON: 31, EVENT: 20}
    assert alarm["commonest"] == JSON
    assert "intentloop dlq list" in alarm["advice"]
    assert "INTENTLOOP_STORM_STOP" in alarm["advice"]
    assert over["event"] == "dead_letter_storm_over"


def test_a_storm_inside_one_chunk_stops_even_if_it_is_over_at_its_end() -> None:
    with pytest.raises(StormError, match=r"51 of the last 100 .* invalid_json 51"):
        watch(stop=True).decoded([JSON] * 60 + [None] * 500)


def test_while_it_stops_no_chunk_with_a_bad_record_is_let_through() -> None:
    storms = watch(stop=True)
    with pytest.raises(StormError):
        storms.decoded([JSON] * 60)
    with pytest.raises(StormError):
        storms.decoded([None, JSON])
    storms.decoded([None] * 5)


def test_below_the_share_nothing_is_stopped() -> None:
    watch(stop=True).decoded([JSON, None] * 1_000)


@pytest.mark.parametrize("group", [10, 100, 5_000])
def test_what_the_database_refuses_is_judged_by_its_share_of_the_transactions(group: int) -> None:
    def transactions(refused_share: float) -> None:
        storms = watch(stop=True)
        refused = round(group * refused_share)
        for _ in range(100):
            storms.refused([REFUSED] * refused, of=group)
            storms.stored(group - refused)

    transactions(0.4)
    with pytest.raises(StormError, match="refused_by_database"):
        transactions(0.6)


def test_refusals_and_rejections_have_windows_of_their_own() -> None:
    storms = watch(stop=True)
    for _ in range(100):
        storms.decoded([None] * 10)
        storms.stored(10)

    def refuse_all() -> None:
        for _ in range(10):
            storms.decoded([None] * 10)
            storms.refused([REFUSED] * 10, of=10)

    with pytest.raises(StormError):
        refuse_all()
