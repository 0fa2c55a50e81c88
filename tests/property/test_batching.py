"""Batches tile a partition, keep its order, and depend on nothing but the log."""

from __future__ import annotations

import json
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from intentloop_schemas import Batch, ClosedBy, ReviewRule, TopicPartition
from intentloop_stream.processing import Decoder, PartitionBatcher

PARTITION = TopicPartition("conversations", "id-1", 0)
START = 1_698_345_600_000
SIZE = 10
MAX_AGE_MS = 30_000
LONG_AFTER = START + 10**9


class LogRecord(NamedTuple):
    offset: int
    timestamp: int
    value: bytes | None
    key: bytes | None = b"sender"


def event(timestamp: int) -> bytes:
    return json.dumps(
        {
            "phoneNumber": "+15550100",
            "messageText": "where is my order",
            "intent": "track_order",
            "confidence": 0.9,
            "timestamp": timestamp,
        }
    ).encode()


@st.composite
def logs(draw: st.DrawFn) -> list[LogRecord]:
    """Offsets with holes, Kafka timestamps that mostly rise, a bad record here and there."""
    offset, timestamp, records = draw(st.integers(0, 50)), START, []
    for _ in range(draw(st.integers(0, 60))):
        offset += draw(st.sampled_from([1, 1, 1, 1, 2, 7]))
        timestamp = max(START, timestamp + draw(st.integers(-2_000, 12_000)))
        good = draw(st.integers(0, 9)) > 0
        value = event(timestamp + draw(st.integers(-60_000, 60_000))) if good else b"{"
        records.append(LogRecord(offset, timestamp, value))
    return records


def cut(
    records: list[LogRecord], cuts: set[int], position: int = 0, highest: int = 0
) -> tuple[list[Batch], PartitionBatcher]:
    """Feed a log in chunks that end after the records at `cuts`."""
    decoder = Decoder(ReviewRule(), 30)
    batcher = PartitionBatcher(PARTITION, SIZE, MAX_AGE_MS, position, highest)
    closed: list[Batch] = []
    chunk: list[LogRecord] = []
    for index, record in enumerate(records):
        chunk.append(record)
        if index in cuts or index == len(records) - 1:
            items = decoder.decode(chunk, batcher.watermark)
            closed += batcher.add(items, record.offset + 1, LONG_AFTER)
            chunk = []
    return closed, batcher


def finished(batches: list[Batch], batcher: PartitionBatcher) -> list[Batch]:
    last = batcher.close()
    return [*batches, last] if last else batches


def total(batches: list[Batch]) -> int:
    return sum(len(batch.entries) + batch.rejected for batch in batches)


@given(logs(), st.sets(st.integers(0, 59)))
def test_batches_tile_the_partition_and_keep_its_order(
    records: list[LogRecord], cuts: set[int]
) -> None:
    batches = finished(*cut(records, cuts))

    assert total(batches) == len(records)
    position = 0
    for batch in batches:
        assert batch.first_position == position
        assert batch.next_position > batch.first_position
        position = batch.next_position
        inside = range(batch.first_position, batch.next_position)
        assert all(entry.record.offset in inside for entry in batch.entries)
    assert not records or position == records[-1].offset + 1
    offsets = [entry.record.offset for batch in batches for entry in batch.entries]
    assert offsets == sorted(offsets)


@given(logs(), st.sets(st.integers(0, 59)))
def test_sizes_and_reasons(records: list[LogRecord], cuts: set[int]) -> None:
    closed, batcher = cut(records, cuts)

    for batch in closed:
        held = len(batch.entries) + batch.rejected
        if batch.closed_by is ClosedBy.SIZE:
            assert held == SIZE * batch.batches
        else:
            assert batch.closed_by is ClosedBy.TIME
            assert batch.batches <= held < SIZE * batch.batches
    assert batcher.open_records < SIZE


@given(logs(), st.sets(st.integers(0, 59)), st.sets(st.integers(0, 59)))
def test_how_the_log_is_chunked_changes_nothing_but_the_grouping(
    records: list[LogRecord], cuts: set[int], other_cuts: set[int]
) -> None:
    one = finished(*cut(records, cuts))
    other = finished(*cut(records, other_cuts))

    assert [entry for batch in one for entry in batch.entries] == [
        entry for batch in other for entry in batch.entries
    ]
    assert sum(batch.batches for batch in one) == sum(batch.batches for batch in other)


@given(logs(), st.sets(st.integers(0, 59)), st.data())
def test_a_worker_that_goes_on_from_any_stored_batch_judges_every_event_alike(
    records: list[LogRecord], cuts: set[int], data: st.DataObject
) -> None:
    whole = finished(*cut(records, cuts))
    if not whole:
        return
    stored = data.draw(st.sampled_from(whole))
    rest = [record for record in records if record.offset >= stored.next_position]
    again = finished(*cut(rest, set(), stored.next_position, stored.highest_timestamp))

    expected = [
        entry
        for batch in whole
        for entry in batch.entries
        if entry.record.offset >= stored.next_position
    ]
    assert [entry for batch in again for entry in batch.entries] == expected


@given(logs(), st.integers(0, 2 * MAX_AGE_MS))
def test_an_open_batch_is_due_at_its_age_and_not_before(
    records: list[LogRecord], elapsed: int
) -> None:
    _, batcher = cut(records, set())
    now = batcher.opened_at + elapsed
    was_open = batcher.open_records

    batch = batcher.due(now)

    assert (batch is not None) == (was_open > 0 and elapsed >= MAX_AGE_MS)
    if batch is not None:
        assert batch.closed_by is ClosedBy.TIME
        assert total([batch]) == was_open
        assert batcher.open_records == 0


def test_a_clock_that_runs_ahead_does_not_hold_a_batch_open() -> None:
    batcher = PartitionBatcher(PARTITION, SIZE, MAX_AGE_MS, 0)
    record = LogRecord(0, START + 86_400_000, event(START))
    items = Decoder(ReviewRule(), 30).decode([record], batcher.watermark)

    assert batcher.add(items, 1, START) == []
    assert batcher.due(START + MAX_AGE_MS - 1) is None
    assert batcher.due(START + MAX_AGE_MS) is not None


def test_a_batch_that_ends_a_chunk_takes_the_hole_behind_it() -> None:
    batcher = PartitionBatcher(PARTITION, 2, MAX_AGE_MS, 0)
    records = [LogRecord(0, START, event(START)), LogRecord(3, START, event(START))]
    items = Decoder(ReviewRule(), 30).decode(records, batcher.watermark)

    (batch,) = batcher.add(items, 9, START)

    assert (batch.first_position, batch.next_position) == (0, 9)


def test_a_clock_that_is_set_back_does_not_hold_a_batch_open() -> None:
    batcher = PartitionBatcher(PARTITION, SIZE, MAX_AGE_MS, 0)
    items = Decoder(ReviewRule(), 30).decode([LogRecord(0, START, event(START))], batcher.watermark)

    assert batcher.add(items, 1, START) == []
    assert batcher.due_position(START + 1) == 0
    assert batcher.due(START + 1) is None
    assert batcher.due_position(START - 3_600_000) == 1
    assert batcher.due(START - 3_600_000) is not None
