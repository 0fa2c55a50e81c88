"""Records that come after all: the log no longer had them in their turn, but a spool still has.

Their positions lie in a recorded loss, or before the first that the store knows of the partition:
who began it found nothing older in the log. They are stored like any others, and the loss shrinks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

from intentloop_schemas import Batch, TopicPartition
from intentloop_sink import statements
from intentloop_sink.statements import Statement, numbers


class Loss(NamedTuple):
    """Positions recorded as lost."""

    partition: TopicPartition
    first_position: int
    next_position: int


def losses_below(
    cursor: Cursor, batches: Sequence[Batch], positions: Mapping[TopicPartition, int], writer: str
) -> list[Loss]:
    """Return the losses of partitions with a batch that begins below their position.

    What lies before the beginning of a partition becomes a loss here. Asks nothing when there is no
    such batch. The partitions' lines must be locked.
    """
    keys = {(p.topic_id, p.partition): p for p in _below(batches, positions)}
    if not keys:
        return []
    cursor.execute(statements.BEGINNINGS, (tuple(keys),))
    for topic_id, number, beginning in cursor.fetchall():
        partition = keys[topic_id, number]
        first = min(b.first_position for b in batches if b.partition == partition)
        if first < beginning:
            loss = (topic_id, number, first, beginning, partition.topic, writer)
            cursor.execute(statements.INSERT_LOSS, loss)
    cursor.execute(statements.LOSSES, (tuple(keys),))
    return [Loss(keys[row[:2]], *row[2:]) for row in cursor]


def divide(
    batches: Sequence[Batch], losses: Sequence[Loss], positions: Mapping[TopicPartition, int]
) -> tuple[list[Batch], list[Batch]]:
    """Divide batches, given in order, into the parts that lie in a loss, and the rest.

    Of a range that comes twice, the second is part of the rest. What reaches over its partition's
    position is cut there if it is known which of its records were rejected.
    """
    if not _below(batches, positions):
        return [], list(batches)
    lost: list[Batch] = []
    rest: list[Batch] = []
    reached: dict[TopicPartition, int] = {}
    for batch in batches:
        end = reached.get(batch.partition, 0)
        nearby = [loss for loss in losses if loss.partition == batch.partition]
        edges = {end, *(edge for loss in nearby for edge in loss[1:])}
        if _has_no_holes(batch):
            edges.add(positions[batch.partition])
        for part in _parts(batch, edges):
            is_lost = part.first_position >= end and any(_holds(loss, part) for loss in nearby)
            if is_lost:
                reached[batch.partition] = part.next_position
            (lost if is_lost else rest).append(part)
    return lost, rest


def shrink(losses: Iterable[Loss], recovered: Sequence[Batch]) -> list[Statement]:
    """Take the ranges of recovered batches out of the losses."""
    shrunk = ((loss, _remainders(loss, recovered)) for loss in losses)
    return [_replace(loss, rest) for loss, rest in shrunk if rest != [loss[1:]]]


def _below(
    batches: Iterable[Batch], positions: Mapping[TopicPartition, int]
) -> set[TopicPartition]:
    return {b.partition for b in batches if b.first_position < positions[b.partition]}


def _has_no_holes(batch: Batch) -> bool:
    return batch.next_position - batch.first_position == len(batch.entries) + batch.rejected


def _holds(loss: Loss, batch: Batch) -> bool:
    return loss.first_position <= batch.first_position < loss.next_position


def _parts(batch: Batch, edges: Iterable[int]) -> Iterator[Batch]:
    """Cut a batch at those edges that lie inside it.

    Rejected records are the positions that no entry has. Where the log has holes, positions
    without a record, only their number is known: then the first parts get them.
    """
    inside = sorted(edge for edge in edges if batch.first_position < edge < batch.next_position)
    if not inside:
        yield batch
        return
    rejected, suppressed = batch.rejected, batch.suppressed
    for first, end in pairwise([batch.first_position, *inside, batch.next_position]):
        entries = [entry for entry in batch.entries if first <= entry.record.offset < end]
        part_rejected = min(rejected, end - first - len(entries))
        part = replace(
            batch,
            first_position=first,
            next_position=end,
            opened_at=entries[0].record.timestamp if entries else batch.opened_at,
            entries=entries,
            rejected=part_rejected,
            suppressed=min(suppressed, part_rejected),
        )
        rejected -= part.rejected
        suppressed -= part.suppressed
        yield part


def _remainders(loss: Loss, recovered: Sequence[Batch]) -> list[tuple[int, int]]:
    rest: list[tuple[int, int]] = []
    position = loss.first_position
    for batch in recovered:
        if batch.partition == loss.partition and _holds(loss, batch):
            if position < batch.first_position:
                rest.append((position, batch.first_position))
            position = batch.next_position
    if position < loss.next_position:
        rest.append((position, loss.next_position))
    return rest


def _replace(loss: Loss, rest: Sequence[tuple[int, int]]) -> Statement:
    firsts, ends = (numbers(r[i] for r in rest) for i in (0, 1))
    key = (loss.partition.topic_id, loss.partition.partition, loss.first_position)
    return Statement(statements.SHRINK_LOSS, (*key, firsts, ends))
