"""Statistics are the same in whatever order and parts the events come."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from intentloop_schemas import Entry, WindowKey, WindowStatistics, fold_windows
from intentloop_schemas.statistics import roll_up
from support.batches import NOON, entry

Windows = dict[WindowKey, WindowStatistics]

confidences = st.floats(0, 1) | st.sampled_from([0.0, 0.05, 0.049999, 0.7, 0.999999, 1.0])
entries = st.builds(
    entry,
    st.integers(0, 10**6),
    late=st.booleans(),
    intent=st.sampled_from(["track_order", "nlu_fallback"]),
    channel=st.sampled_from(["whatsapp", "web"]),
    model_version=st.sampled_from([None, "", "v1"]),
    confidence=confidences,
    timestamp=st.integers(NOON - 4_000_000, NOON + 4_000_000),
)
logs = st.lists(entries, max_size=40)


def statistics(log: list[Entry]) -> WindowStatistics:
    return WindowStatistics.of(log) if log else WindowStatistics()


def merged(one: Windows, other: Windows) -> Windows:
    empty = WindowStatistics()
    return {
        key: one.get(key, empty).merge(other.get(key, empty)) for key in one.keys() | other.keys()
    }


@given(logs, logs)
def test_merging_is_commutative(a: list[Entry], b: list[Entry]) -> None:
    assert statistics(a).merge(statistics(b)) == statistics(b).merge(statistics(a))


@given(logs, logs, logs)
def test_merging_is_associative(a: list[Entry], b: list[Entry], c: list[Entry]) -> None:
    one, two, three = statistics(a), statistics(b), statistics(c)
    assert one.merge(two).merge(three) == one.merge(two.merge(three))


@given(logs)
def test_nothing_is_neutral(log: list[Entry]) -> None:
    assert statistics(log).merge(WindowStatistics()) == statistics(log)


@given(st.data(), logs, st.sampled_from([10, 30, 128, 3600]))
def test_any_order_and_any_parts_fold_to_the_same(
    data: Any, log: list[Entry], window_seconds: int
) -> None:
    shuffled = data.draw(st.permutations(log))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=5)))
    edges = [0, *cuts, len(log)]
    parts = [shuffled[a:b] for a, b in pairwise(edges)]
    folded = [fold_windows(part, window_seconds) for part in parts]
    assert reduce(merged, folded) == fold_windows(log, window_seconds)


@given(logs, st.sampled_from([10, 30, 60, 1800]))
def test_rolled_up_windows_are_those_of_the_longer_windows(
    log: list[Entry], window_seconds: int
) -> None:
    assert roll_up(fold_windows(log, window_seconds), 3600) == fold_windows(log, 3600)


@given(logs)
def test_every_event_is_in_one_bin_and_one_window(log: list[Entry]) -> None:
    windows = fold_windows(log, 30)
    assert sum(s.n for s in windows.values()) == len(log)
    assert all(sum(s.confidence_histogram) == s.n for s in windows.values())
    assert all(
        key.window_start <= s.first_event_at <= s.last_event_at < key.window_start + 30_000
        for key, s in windows.items()
    )
