"""Cutting batches: what is stored already, what can never be stored, what must not be kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from intentloop_schemas import Batch, Entry, TopicPartition
from intentloop_sink.outcome import OutOfTurn


def fence(
    batches: Iterable[Batch], next_positions: Mapping[TopicPartition, int]
) -> list[Batch] | OutOfTurn:
    """Leave out what lies below each partition's next position.

    Batches must be in order. What lies above the next position has left something out, so it may
    not be stored. Nor may a batch that begins below and ends above it with rejected records in it:
    nobody could tell which of them were counted before.
    """
    expected = dict(next_positions)
    kept: list[Batch] = []
    for batch in batches:
        position = expected[batch.partition]
        if batch.next_position <= position:
            continue
        overlaps = batch.first_position < position
        if batch.first_position > position or (overlaps and batch.rejected):
            return OutOfTurn(batch.partition, position)
        kept.append(_from(batch, position) if overlaps else batch)
        expected[batch.partition] = batch.next_position
    return kept


def _from(batch: Batch, position: int) -> Batch:
    entries = [entry for entry in batch.entries if entry.record.offset >= position]
    return replace(
        batch,
        first_position=position,
        opened_at=entries[0].record.timestamp if entries else batch.opened_at,
        entries=entries,
    )


def without(batches: Iterable[Batch], entries: Iterable[Entry]) -> list[Batch]:
    """Return the batches with some of their entries moved to `rejected`."""
    refused = {id(entry) for entry in entries}
    return [_without(batch, refused) for batch in batches]


def suppress(batch: Batch, kept: list[Entry]) -> Batch:
    """Return a batch with only `kept` of its entries; the others are rejected without a trace."""
    gone = len(batch.entries) - len(kept)
    return replace(
        batch,
        entries=kept,
        rejected=batch.rejected + gone,
        suppressed=batch.suppressed + gone,
    )


def _without(batch: Batch, refused: set[int]) -> Batch:
    kept = [entry for entry in batch.entries if id(entry) not in refused]
    gone = len(batch.entries) - len(kept)
    return replace(batch, entries=kept, rejected=batch.rejected + gone) if gone else batch
