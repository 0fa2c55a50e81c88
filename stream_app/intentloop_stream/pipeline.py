"""From chunks to closed batches: decode, bury what is bad, batch, acknowledge what is stored.

Results and progress are one atomic fact in the store; acknowledging Kafka comes after. Everything
here runs on one event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from intentloop_schemas import Batch, Record, ReviewRule, TopicPartition
from intentloop_schemas.senders import senders_of
from intentloop_sink import OffsetLine
from intentloop_sink.spool import Spool
from intentloop_stream.dead_letters import rejected_letter
from intentloop_stream.group_commit import GroupCommit, Publish
from intentloop_stream.processing import Decoder, PartitionBatcher, Rejection
from intentloop_stream.processing.batching import Item
from intentloop_stream.settings import WorkerSettings
from intentloop_stream.store_thread import Sink
from intentloop_stream.storm import StormWatch
from intentloop_stream.surroundings import Surroundings
from intentloop_stream.transport import Chunk

_TICK_SECONDS = 0.1

log = structlog.get_logger(__name__)

Acknowledge = Callable[[], object]
Reposition = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class _Assignment:
    """One partition while this worker holds it. A rebalance ends it, with its open batch."""

    batcher: PartitionBatcher
    safe: int
    """Everything below is stored or spooled."""
    unacknowledged: deque[tuple[int, Acknowledge]] = field(default_factory=deque)

    def acknowledge(self, next_position: int) -> None:
        """Acknowledge the chunks that end at or before a stored position."""
        self.safe = max(self.safe, next_position)
        while self.unacknowledged and self.unacknowledged[0][0] <= next_position:
            self.unacknowledged.popleft()[1]()


class Pipeline:
    """Takes chunks of assigned partitions and brings them into the store.

    Args:
        sink: the store.
        spool: holds what the store cannot take; None where files are the store.
        settings: the review rule's threshold, batches and windows.
        publish: must not return before the dead letters are safe.
        reposition: must lead to `assign` and a seek.
        earliest: the first offset that Kafka still has.
        surroundings: see there.
    """

    def __init__(
        self,
        sink: Sink,
        spool: Spool | None,
        settings: WorkerSettings,
        *,
        publish: Publish,
        reposition: Reposition,
        earliest: Callable[[TopicPartition], Awaitable[int]],
        surroundings: Surroundings,
    ) -> None:
        rule = ReviewRule(settings.confidence_threshold)
        self._decoder = Decoder(rule, settings.window_seconds, surroundings.pii)
        self._batch_size = settings.batch_size
        self._batch_ms = round(settings.batch_seconds * 1000)
        # Closed this much early, so that a batch is stored, not only closed, at its age.
        self._margin_ms = min(500, self._batch_ms // 10)
        self._sink = sink
        self._publish = publish
        self._reposition = reposition
        self._earliest = earliest
        self._clock = surroundings.clock
        self._metrics = surroundings.metrics
        self._assignments: dict[TopicPartition, _Assignment] = {}
        self._storms = StormWatch(
            settings.storm_share, settings.storm_records, stop=settings.storm_stop
        )
        self._commits = GroupCommit(
            sink,
            spool,
            publish=publish,
            on_stored=self._acknowledge,
            on_out_of_turn=reposition,
            storms=self._storms,
            surroundings=surroundings,
        )

    async def assign(self, earliest: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Begin a new assignment and return where to read on in each partition.

        What was open or waiting is thrown away: it will be read again. Where the `earliest` offset
        in Kafka lies beyond the store's position the records between are lost, which is recorded.
        Waits for the store as long as it is away.
        """
        self._assignments.clear()
        await self._commits.forget()
        lines = await self._commits.lines(earliest)
        for partition, known in lines.items():
            line = await self._behind_losses(partition, known, earliest[partition])
            self._assignments[partition] = _Assignment(
                PartitionBatcher(
                    partition,
                    self._batch_size,
                    self._batch_ms,
                    line.next_position,
                    line.highest_timestamp,
                ),
                line.next_position,
            )
        return {p: a.batcher.position for p, a in self._assignments.items()}

    async def accept(
        self, partition: TopicPartition | None, chunk: Chunk, acknowledge: Acknowledge
    ) -> None:
        """Take a chunk; `acknowledge` is called when all of it is stored.

        Waits while too much is waiting for the store. A chunk that does not go on where its
        partition stands, or whose partition has no place yet, makes the worker look up all
        positions; it will be read again.
        """
        assignment = self._assignments.get(partition) if partition else None
        if partition is None or assignment is None:
            await self._reposition()
            return
        batcher = assignment.batcher
        if chunk.first_position > batcher.position or await self._is_lost(partition, chunk):
            log.warning("gap", expected=batcher.position, found=chunk.records[0].offset)
            await self._reposition()
            return
        items = self._decoder.decode(_from(chunk, batcher.position), batcher.watermark)
        items = await self._bury(items, partition)
        if self._assignments.get(partition) is not assignment:
            return
        assignment.unacknowledged.append((chunk.next_position, acknowledge))
        next_position = max(chunk.next_position, batcher.position)
        await self._commits.put(batcher.add(items, next_position, self._clock()))
        await self._commits.room()

    def progress(self) -> dict[TopicPartition, tuple[int, int, int]]:
        """Return of each assigned partition what is taken, due and safe: see `Standing`.

        Any thread may ask.
        """
        now = self._clock()
        return {
            partition: (a.batcher.position, a.batcher.due_position(now), a.safe)
            for partition, a in dict(self._assignments).items()
        }

    async def run(self) -> None:
        """Store closed batches and close due ones, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._close_due())
            tasks.create_task(self._commits.run())

    async def close(self) -> None:
        """Close what is open, wait until it is stored and acknowledged."""
        await self._put_closed(a.batcher.close() for a in self._assignments.values())
        await self._commits.idle()

    async def _behind_losses(
        self, partition: TopicPartition, line: OffsetLine, earliest: int
    ) -> OffsetLine:
        """Record what Kafka deleted before it was read, and go on behind it."""
        if line.next_position >= earliest:
            return line
        log.error(
            "records_lost",
            partition=partition.partition,
            first_position=line.next_position,
            next_position=earliest,
            advice="Kafka deleted them unread: lengthen the topic's retention, or add workers",
        )
        await self._commits.record_loss(partition, earliest)
        self._metrics.lost(earliest - line.next_position)
        return OffsetLine(earliest, line.highest_timestamp)

    async def _is_lost(self, partition: TopicPartition, chunk: Chunk) -> bool:
        """Tell whether retention cut a hole before the first record, and not a transaction."""
        first = chunk.records[0].offset
        if first <= chunk.first_position:
            return False
        return await self._earliest(partition) > chunk.first_position

    async def _close_due(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            now = self._clock()
            await self._put_closed(
                a.batcher.due(now, self._margin_ms) for a in self._assignments.values()
            )

    async def _put_closed(self, batches: Iterable[Batch | None]) -> None:
        closed = [batch for batch in batches if batch]
        if closed:
            await self._commits.put(closed)

    def _acknowledge(self, next_positions: Mapping[TopicPartition, int]) -> None:
        for partition, position in next_positions.items():
            if partition in self._assignments:
                self._assignments[partition].acknowledge(position)

    async def _bury(self, items: list[Item], partition: TopicPartition) -> list[Item]:
        """Publish what is rejected, and return the items with those marked that nobody may keep."""
        reasons = [item.reason if isinstance(item, Rejection) else None for item in items]
        self._storms.decoded(reasons)
        if not any(reasons):
            return items
        judged = [self._judged(item) if isinstance(item, Rejection) else item for item in items]
        letters = [
            rejected_letter(item, partition)
            for item in judged
            if isinstance(item, Rejection) and not item.suppressed
        ]
        if letters:
            self._metrics.rejected(letter.reason for letter in letters)
            log.warning("rejected", partition=partition.partition, records=len(letters))
            await self._publish(letters)
        return judged

    def _judged(self, rejection: Rejection) -> Rejection:
        """Mark a rejection that is of an erased sender."""
        record = rejection.record
        senders = senders_of(record.key, record.value)
        return rejection._replace(suppressed=self._sink.has_erased(senders, record.timestamp))


def _from(chunk: Chunk, position: int) -> Sequence[Record]:
    """Return the records of a chunk at or after a position; those before it are known."""
    if chunk.first_position >= position:
        return chunk.records
    return [record for record in chunk.records if record.offset >= position]
