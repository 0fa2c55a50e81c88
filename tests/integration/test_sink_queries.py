"""Views and queries: readable numbers from the sums, and the proof that nothing is missing."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from intentloop_schemas import Entry
from intentloop_sink import PostgresSink, Stored
from intentloop_sink.queries import Gap, Totals, queries
from support import tables
from support.batches import PARTITION, batch, entry, partition, tens, traffic

START = 1_700_000_010_000
"""A multiple of 30 s."""


@pytest.fixture
def sink(database_url: str) -> Iterator[PostgresSink]:
    with closing(PostgresSink(database_url, window_seconds=30, writer="w")) as sink:
        yield sink


def store(sink: PostgresSink, *batches: Any) -> None:
    assert isinstance(sink.store(sink.prepare(batches)), Stored)


def with_confidences(*confidences: float, **fields: Any) -> list[Entry]:
    return [
        entry(offset, confidence=confidence, timestamp=START + offset, **fields)
        for offset, confidence in enumerate(confidences)
    ]


def test_a_window_in_plain_numbers(sink: PostgresSink, database_url: str) -> None:
    confidences = [0.1, 0.5, 0.65, 0.8, 0.9, 0.9, 0.95, 1.0]
    store(sink, batch(with_confidences(*confidences)))
    sql = """
        SELECT n, mean_confidence, deviation, min_confidence, max_confidence,
               flagged_share, low_confidence_share, fallback_share, late_share, window_end
        FROM {}
    """
    shares = (3 / 8, 3 / 8, 0.0, 0.0)
    numbers = (8, statistics.mean(confidences), statistics.pstdev(confidences), 0.1, 1.0, *shares)
    ends = {"intent_window": START + 30_000, "intent_hourly": START // 3_600_000 * 3_600_000}
    ends["intent_hourly"] += 3_600_000
    for view, end in ends.items():
        (row,) = tables.query(database_url, sql.format(view))
        assert row[:-1] == pytest.approx(numbers)
        assert row[-1] == datetime.fromtimestamp(end / 1000, UTC)


@pytest.mark.parametrize("seed", range(3))
def test_quantiles_are_as_exact_as_the_bins(
    sink: PostgresSink, database_url: str, seed: int
) -> None:
    confidences = sorted(e.event.confidence for e in traffic(range(400), seed))
    store(sink, batch(with_confidences(*confidences)))
    (row,) = tables.query(database_url, "SELECT p10, p50, p90 FROM intent_window")
    for quantile, share in zip(row, (0.1, 0.5, 0.9), strict=True):
        exact = confidences[round(share * 400) - 1]
        assert quantile == pytest.approx(exact, abs=0.05)


def test_quantiles_of_one_value_are_that_value(sink: PostgresSink, database_url: str) -> None:
    store(sink, batch(with_confidences(0.62, 0.62, 0.62)))
    row = tables.query(database_url, "SELECT p10, p50, p90, deviation FROM intent_window")
    assert row == [(0.62, 0.62, 0.62, 0.0)]


def is_final(url: str) -> bool:
    """Tell whether the window that begins at START is final."""
    sql = "SELECT bool_and(is_final) FROM intent_window WHERE window_start = %s"
    return bool(tables.query(url, sql, datetime.fromtimestamp(START / 1000, UTC))[0][0])


def test_a_window_is_final_once_every_partition_has_passed_it(
    sink: PostgresSink, database_url: str
) -> None:
    """The end plus five seconds: to the millisecond."""
    other = partition(1)
    store(sink, batch([entry(0, timestamp=START)]), batch([entry(0)], partition=other))
    assert not is_final(database_url)
    end = START + 30_000 + 5_000
    store(sink, batch([entry(1)], highest_timestamp=end))
    store(sink, batch([entry(1)], partition=other, highest_timestamp=end - 1))
    assert not is_final(database_url)
    store(sink, batch([entry(2)], partition=other, highest_timestamp=end))
    assert is_final(database_url)


def test_a_partition_nobody_writes_to_holds_no_window_back(
    sink: PostgresSink, database_url: str
) -> None:
    idle = partition(1)
    store(sink, batch([entry(0, timestamp=START)]), batch([entry(0)], partition=idle))
    store(sink, batch([entry(1)], highest_timestamp=START + 60_000))
    age = "UPDATE ingest_offset SET updated_at = updated_at - %s WHERE partition = 1"
    tables.query(database_url, age, timedelta(minutes=4, seconds=50))
    assert not is_final(database_url)
    tables.query(database_url, age, timedelta(seconds=20))
    assert is_final(database_url)


def test_totals_and_partitions(sink: PostgresSink, database_url: str) -> None:
    store(sink, *tens(traffic(range(40))))
    store(sink, *tens(traffic(range(20)), partition=partition(1)))
    store(sink, batch([], first=20, next_position=30, rejected=7, partition=partition(1)))
    flagged = sum(bool(e.reasons) for e in traffic(range(40)))
    with queries(database_url) as ask:
        assert ask.totals() == Totals(40, 20, 7, flagged, 7)
        assert ask.totals().accounted == 67
        assert [(line.partition, line.next_position) for line in ask.lines()] == [(0, 40), (1, 30)]
        assert ask.gaps() == []
    rows = tables.query(
        database_url,
        """
        SELECT partition, first_position, next_position, positions, accounted
        FROM conversation_partition ORDER BY partition
        """,
    )
    assert rows == [(0, 0, 40, 40, 40), (1, 0, 30, 30, 27)]


@pytest.mark.parametrize(
    ("damage", "gap"),
    [
        ("DELETE FROM conversation_batch WHERE first_position = 10", (10, 20, "missing")),
        ("DELETE FROM conversation_batch WHERE first_position = 20", (20, 30, "missing")),
        (
            "UPDATE conversation_batch SET next_position = 15 WHERE first_position = 0",
            (15, 10, "twice"),
        ),
        ("UPDATE ingest_offset SET next_position = 25", (30, 25, "twice")),
    ],
)
def test_every_gap_and_overlap_is_found(
    sink: PostgresSink, database_url: str, damage: str, gap: tuple[int, int, str]
) -> None:
    for part in tens([entry(offset) for offset in range(30)]):
        store(sink, part)
    tables.query(database_url, damage)
    with queries(database_url) as ask:
        assert ask.gaps() == [Gap(*PARTITION[:2], 0, *gap)]


def test_intents_and_windows_of_a_dataset(sink: PostgresSink, database_url: str) -> None:
    sure = [entry(i, timestamp=START + i * 30_000, confidence=0.9) for i in range(4)]
    unsure = [entry(4, timestamp=START, intent="cancel", confidence=0.3)]
    other = [entry(5, dataset_id="ds-other")]
    store(sink, batch([*sure, *unsure, *other], highest_timestamp=START + 95_000))
    with queries(database_url) as ask:
        track, cancel = ask.intents("ds-auto-training")
        windows = ask.last_windows("ds-auto-training", 3)
        assert ask.intents("ds-nowhere") == []
    assert (track.intent, track.count, track.mean_confidence) == ("track_order", 4, 0.9)
    assert track.histogram == [0] * 18 + [4, 0]
    assert (cancel.low_confidence_share, cancel.flagged_share) == (1.0, 1.0)
    assert [(w.count, w.intents, w.is_final) for w in windows] == [
        (1, 1, False),
        (1, 1, True),
        (1, 1, True),
    ]
    first = datetime.fromtimestamp((START + 90_000) / 1000, UTC)
    assert windows[0].window_start == first


def test_examples_in_snake_case(sink: PostgresSink, database_url: str) -> None:
    store(sink, batch([entry(0, language="hi", model_version="v2", current_step="menu")]))
    sql = """
        SELECT dataset_id, input, predicted_intent, review_reasons, language, model_version,
               current_step, created_at, event_id FROM examples
    """
    at = datetime.fromtimestamp(1_700_000_000, UTC)
    row = ("ds-auto-training", "where is my order?", "track_order", [], "hi", "v2", "menu", at)
    assert tables.query(database_url, sql) == [(*row, "event-0")]
