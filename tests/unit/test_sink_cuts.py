"""Cutting batches at the fence, and taking refused entries out of them."""

from __future__ import annotations

import pytest

from intentloop_sink.cuts import fence, without
from intentloop_sink.outcome import OutOfTurn
from support.batches import PARTITION, batch, entry, partition, tens

ENTRIES = [entry(offset) for offset in range(30)]


def test_what_begins_at_the_next_position_passes_as_it_is() -> None:
    batches = tens(ENTRIES)
    kept = fence(batches, {PARTITION: 0})
    assert isinstance(kept, list)
    assert all(a is b for a, b in zip(kept, batches, strict=True))


def test_whole_batches_below_are_left_out() -> None:
    batches = tens(ENTRIES)
    assert fence(batches, {PARTITION: 20}) == batches[2:]
    assert fence(batches, {PARTITION: 31}) == []


def test_a_batch_across_the_fence_is_trimmed() -> None:
    kept = fence(tens(ENTRIES), {PARTITION: 14})
    assert isinstance(kept, list)
    assert [(b.first_position, b.next_position) for b in kept] == [(14, 20), (20, 30)]
    assert [e.record.offset for e in kept[0].entries] == list(range(14, 20))


def test_a_batch_across_the_fence_with_rejected_records_is_read_again() -> None:
    across = batch(ENTRIES[:10], rejected=1)
    assert fence([across], {PARTITION: 4}) == OutOfTurn(PARTITION, 4)


@pytest.mark.parametrize("missing", [0, 1])
def test_a_gap_is_out_of_turn(missing: int) -> None:
    batches = tens(ENTRIES)
    del batches[missing]
    assert fence(batches, {PARTITION: 0}) == OutOfTurn(PARTITION, missing * 10)


def test_partitions_are_fenced_apart() -> None:
    one, two = batch(ENTRIES[:10]), batch(ENTRIES[10:20], partition=partition(1))
    assert fence([one, two], {PARTITION: 10, partition(1): 10}) == [two]


def test_refused_entries_count_as_rejected() -> None:
    batches = tens(ENTRIES)
    rest = without(batches, [ENTRIES[3], ENTRIES[7], ENTRIES[25]])
    assert [(len(b.entries), b.rejected) for b in rest] == [(8, 2), (10, 0), (9, 1)]
    assert [len(b.entries) for b in batches] == [10, 10, 10]


def test_an_equal_entry_elsewhere_stays() -> None:
    twin = entry(3)
    rest = without([batch(ENTRIES[:10]), batch([twin], partition=partition(1))], [twin])
    assert [b.rejected for b in rest] == [0, 1]
