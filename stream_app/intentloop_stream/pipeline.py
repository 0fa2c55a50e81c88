"""From chunks to the store: decode, batch, commit in groups, acknowledge.

Results and progress are one atomic fact in the store; acknowledging Kafka comes after. Everything
here runs on one event loop; only the store's own work leaves it, one call at a time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar, assert_never

import structlog

from intentloop_schemas import Batch, DeadLetter, DeadLetterReason, Record, TopicPartition
from intentloop_sink import (
    OffsetLine,
    OutOfTurn,
    PostgresSink,
    Prepared,
    Refusal,
    Refused,
    Retry,
    Stored,
    Unavailable,
    without,
)
from intentloop_stream.processing import Decoder, PartitionBatcher, Rejection
from intentloop_stream.processing.batching import Item
from intentloop_stream.transport import Chunk

GROUP_ENTRIES = 10_000
"""Entries in one transaction under a backlog."""
MAX_WAITING_ENTRIES = 2 * GROUP_ENTRIES
"""Closed entries held in memory before reading pauses."""
_TICK_SECONDS = 0.1
_MAX_BACKOFF_SECONDS = 5.0

T = TypeVar("T")
R = TypeVar("R")

log = structlog.get_logger(__name__)

Acknowledge = Callable[[], object]
Publish = Callable[[Sequence[DeadLetter]], Awaitable[None]]
Reposition = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class _Assignment:
    """One partition while this worker holds it. A rebalance ends it, with its open batch."""

    batcher: PartitionBatcher
    unacknowledged: deque[tuple[int, Acknowledge]] = field(default_factory=deque)

    def acknowledge(self, next_position: int) -> None:
        """Acknowledge the chunks that end at or before a stored position."""
        while self.unacknowledged and self.unacknowledged[0][0] <= next_position:
            self.unacknowledged.popleft()[1]()


class Pipeline:
    """Takes chunks of assigned partitions and brings them into the store.

    `publish` must not return before the dead letters are safe. `reposition` must lead to `assign`
    and a seek. `clock` gives the wall time in epoch ms.
    """

    def __init__(
        self,
        sink: PostgresSink,
        decoder: Decoder,
        *,
        batch_size: int,
        batch_ms: int,
        publish: Publish,
        reposition: Reposition,
        clock: Callable[[], int],
    ) -> None:
        self._sink = sink
        self._decoder = decoder
        self._batch_size = batch_size
        self._batch_ms = batch_ms
        # Closed this much early, so that a batch is stored, not only closed, at its age.
        self._margin_ms = min(500, batch_ms // 10)
        self._publish = publish
        self._reposition = reposition
        self._clock = clock
        self._assignments: dict[TopicPartition, _Assignment] = {}
        self._waiting: deque[Batch] = deque()
        self._waiting_entries = 0
        self._storing = False
        self._changed = asyncio.Condition()
        self._store_thread = ThreadPoolExecutor(1, "store")

    async def assign(self, earliest: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Begin a new assignment and return where to read on in each partition.

        What was open or waiting is thrown away: it will be read again. A partition that the store
        does not know begins at its `earliest` offset. Waits for the store as long as it is away.
        """
        self._assignments.clear()
        self._waiting.clear()
        self._waiting_entries = 0
        await self._notify()
        lines = await self._lines(list(earliest))
        for partition, offset in earliest.items():
            line = lines.get(partition) or OffsetLine(offset, 0)
            self._assignments[partition] = _Assignment(
                PartitionBatcher(
                    partition,
                    self._batch_size,
                    self._batch_ms,
                    line.next_position,
                    line.highest_timestamp,
                )
            )
        return {p: a.batcher.position for p, a in self._assignments.items()}

    async def accept(
        self, partition: TopicPartition, chunk: Chunk, acknowledge: Acknowledge
    ) -> None:
        """Take a chunk; `acknowledge` is called when all of it is stored.

        Waits while too much is waiting for the store. Chunks of partitions that are not assigned
        are left alone: they will be read again.
        """
        assignment = self._assignments.get(partition)
        if assignment is None:
            return
        batcher = assignment.batcher
        if chunk.first_position > batcher.position:
            log.warning("gap", partition=partition, expected=batcher.position, chunk=chunk[2:4])
            await self._reposition()
            return
        items = self._decoder.decode(_from(chunk, batcher.position), batcher.watermark)
        await self._bury(items, partition)
        if self._assignments.get(partition) is not assignment:
            return
        assignment.unacknowledged.append((chunk.next_position, acknowledge))
        next_position = max(chunk.next_position, batcher.position)
        await self._enqueue(batcher.add(items, next_position, self._clock()))
        await self._until(lambda: self._waiting_entries < MAX_WAITING_ENTRIES)

    async def run(self) -> None:
        """Write closed batches and close due ones until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._close_due())
            tasks.create_task(self._write())

    async def close(self) -> None:
        """Close what is open, wait until it is stored and acknowledged."""
        batches = [assignment.batcher.close() for assignment in self._assignments.values()]
        await self._enqueue([batch for batch in batches if batch])
        await self._until(lambda: not self._waiting and not self._storing)

    async def _close_due(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            now = self._clock()
            due = (a.batcher.due(now, self._margin_ms) for a in self._assignments.values())
            await self._enqueue([batch for batch in due if batch])

    async def _enqueue(self, batches: list[Batch]) -> None:
        if batches:
            self._waiting += batches
            self._waiting_entries += sum(len(batch.entries) for batch in batches)
            await self._notify()

    async def _write(self) -> None:
        async with asyncio.TaskGroup() as transactions:
            while True:
                await self._until(self._worth_a_transaction)
                batches = self._take_group()
                await self._notify()
                # The next group is prepared while the one before is stored.
                prepared = self._sink.prepare(batches)
                await self._until(lambda: not self._storing)
                self._storing = True
                transactions.create_task(self._store(batches, prepared))

    def _worth_a_transaction(self) -> bool:
        """While one transaction runs, gather a full group; otherwise take what there is."""
        if self._storing:
            return self._waiting_entries >= GROUP_ENTRIES
        return bool(self._waiting)

    def _take_group(self) -> list[Batch]:
        group: list[Batch] = []
        entries = 0
        while self._waiting and entries < GROUP_ENTRIES:
            group.append(self._waiting.popleft())
            entries += len(group[-1].entries)
        self._waiting_entries -= entries
        return group

    async def _store(self, batches: list[Batch], prepared: Prepared) -> None:
        """Bring a group into the store, however often that takes."""
        attempt = 0
        while batches:
            outcome = await self._in_store_thread(self._sink.store, prepared)
            match outcome:
                case Stored():
                    self._acknowledge(outcome.next_positions)
                    break
                case Refused():
                    await self._publish([_refused(refusal) for refusal in outcome.refusals])
                    batches = without(batches, [r.entry for r in outcome.refusals])
                case OutOfTurn():
                    batches = [b for b in batches if b.partition != outcome.partition]
                    log.warning("out_of_turn", partition=outcome.partition)
                    await self._reposition()
                case Retry() | Unavailable():
                    attempt += 1
                    await back_off(outcome.error, attempt)
                    continue
                case _:
                    assert_never(outcome)
            prepared = self._sink.prepare(batches)
        self._storing = False
        await self._notify()

    def _acknowledge(self, next_positions: Mapping[TopicPartition, int]) -> None:
        for partition, position in next_positions.items():
            if partition in self._assignments:
                self._assignments[partition].acknowledge(position)

    async def _bury(self, items: Iterable[Item], partition: TopicPartition) -> None:
        rejections = [item for item in items if isinstance(item, Rejection)]
        if rejections:
            log.warning("rejected", partition=partition.partition, records=len(rejections))
            await self._publish(
                [_letter(r.record, partition, r.reason, r.error) for r in rejections]
            )

    async def _lines(self, partitions: list[TopicPartition]) -> dict[TopicPartition, OffsetLine]:
        attempt = 0
        while True:
            lines = await self._in_store_thread(self._sink.lines, partitions)
            if not isinstance(lines, Unavailable):
                return lines
            attempt += 1
            await back_off(lines.error, attempt)

    async def _in_store_thread(self, call: Callable[[T], R], argument: T) -> R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._store_thread, call, argument)

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(condition)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


async def back_off(error: str, attempt: int) -> None:
    """Wait before the store is tried again: longer each time, 5 s at the most."""
    seconds = min(0.05 * 2**attempt, _MAX_BACKOFF_SECONDS)
    log.warning("store_failed", error=error, attempt=attempt, retry_in_seconds=seconds)
    await asyncio.sleep(seconds)


def _from(chunk: Chunk, position: int) -> Sequence[Record]:
    """Return the records of a chunk at or after a position; those before it are known."""
    if chunk.first_position >= position:
        return chunk.records
    return [record for record in chunk.records if record.offset >= position]


def _refused(refusal: Refusal) -> DeadLetter:
    return _letter(refusal.entry.record, refusal.partition, refusal.reason, refusal.error)


def _letter(
    record: Record, partition: TopicPartition, reason: DeadLetterReason, error: str
) -> DeadLetter:
    return DeadLetter(
        reason=reason,
        error=error,
        topic=partition.topic,
        partition=partition.partition,
        offset=record.offset,
        timestamp=record.timestamp,
        key=record.key,
        value=record.value,
    )
