"""A Faust transport that reads in chunks: one message a partition and poll, its value the records.

Stock Faust spends over 100 microseconds on the bookkeeping of each record; a chunk pays it once
for thousands. Faust finds the transport by the scheme of the broker URL, `intentloop+kafka://`.

Every private hook into Faust and aiokafka lives in this file; `tests/unit/test_transport_hooks.py`
fails when one of them changes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from aiokafka.consumer import fetcher
from aiokafka.errors import KafkaError
from faust import tables
from faust.tables.recovery import Recovery as FaustRecovery
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from intentloop_schemas import Record

SCHEME = "intentloop+kafka"
_COMMIT_SECONDS = 3.0
_LEAVE_SECONDS = 3.0
_FETCH_WAIT_MS = 250

logger = logging.getLogger(__name__)


class Chunk(NamedTuple):
    """Records of one partition from `first_position` up to, not including, `next_position`."""

    topic: str
    partition: int
    first_position: int
    next_position: int
    records: Sequence[Record]


class _PartitionRecords(fetcher.PartitionRecords):
    """Hands records out as they are parsed: aiokafka's own form of them costs more than parsing."""

    def _consumer_record(self, _tp: TP, record: Record) -> Record:
        return record


# The fetcher offers no other place to say so.
fetcher.PartitionRecords = _PartitionRecords


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread that talks to Kafka."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust ties this to exactly_once. Records of aborted transactions are not events.
        consumer._isolation_level = "read_committed"
        # Where there is nothing to fetch, all that is asked next waits behind the fetch.
        consumer._fetch_max_wait_ms = _FETCH_WAIT_MS
        return consumer

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Tell the app, unless it is stopping: it would never answer, and the stop would hang."""
        if not self.app.should_stop:
            await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Tell the app, unless it is stopping."""
        if not self.app.should_stop:
            await super().on_partitions_assigned(assigned, generation_id)

    async def on_thread_stop(self) -> None:
        """Leave the group; a rebalance that is under way may not hold that up for long.

        Without a broker aiokafka lets out the cancellation of its own fetches.
        """
        with suppress(TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(super().on_thread_stop(), _LEAVE_SECONDS)

    def fetched(self, tp: TP) -> int | None:
        """Return the position up to which a partition was read from Kafka. Any thread may ask."""
        return _position(self._consumer, tp) if self._consumer is not None else None

    async def _fetch_records(
        self, consumer: Any, active_partitions: set[TP], **limits: Any
    ) -> dict[TP, Chunk]:
        before = {tp: _position(consumer, tp) for tp in active_partitions or ()}
        fetched = await super()._fetch_records(consumer, active_partitions, **limits)
        # No other task runs between the fetch and here, so that the positions belong to it.
        return {
            tp: _chunk(tp, records, before.get(tp), _position(consumer, tp))
            for tp, records in fetched.items()
        }

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit offsets; when that fails a later commit carries them.

        The store knows what is done. Kafka's offsets are a hint for tools that show lag, worth
        neither a crash nor a worker that cannot be stopped: aiokafka would try for ever.
        """
        consumer = self._ensure_consumer()
        assigned = self.assignment()
        committable = {
            driver.ensure_aiokafka_TP(tp): driver.OffsetAndMetadata(offset, "")
            for tp, offset in offsets.items()
            if tp in assigned
        }
        try:
            await asyncio.wait_for(consumer.commit(committable), _COMMIT_SECONDS)
        except (KafkaError, TimeoutError) as error:
            why = str(error) or "Kafka does not answer"
            logger.warning("offsets not committed, the next commit carries them: %s", why)
            return False
        return True


class Consumer(driver.Consumer):
    """The consumer that hands out chunks and resumes where the store stands."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._delivered: dict[TP, int] = {}

    def progress(self, tp: TP) -> tuple[int | None, int]:
        """Return the positions up to which a partition was fetched, and handed out in chunks.

        Any thread may ask.
        """
        return self._thread.fetched(tp), self._delivered.get(tp, 0)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """Yield one message a partition, its value a `Chunk`; waits up to `timeout` seconds."""
        chunks, _ = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        for tp, chunk in (chunks or {}).items():
            # After a rebalance every partition is read again from where the store stands.
            if self.should_stop or not self.flow_active:
                return
            if generation != self.app.consumer_generation_id:
                return
            self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
            self._delivered[tp] = chunk.next_position
            yield tp, self._to_message(tp, chunk)

    def _to_message(self, tp: TP, chunk: Chunk) -> ConsumerMessage:
        return ConsumerMessage(
            topic=tp.topic,
            partition=tp.partition,
            offset=chunk.next_position - 1,
            timestamp=chunk.records[0].timestamp / 1000,
            timestamp_type=0,
            headers=None,
            key=None,
            value=chunk,
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=0,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek every assigned partition to where the store stands, not to Kafka's offsets."""
        positions = await self.app.positions(self.assignment())
        # While the store was away, partitions may have moved to another worker.
        held = self.assignment()
        seekable = {tp: position for tp, position in positions.items() if tp in held}
        self._delivered = dict(seekable)
        await self.seek_wait(seekable)
        return seekable

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Do nothing: Faust would count the offsets inside a chunk as acknowledged."""

    def _new_offset(self, tp: TP) -> int | None:
        """Return the position after the highest acknowledged chunk; chunks end in order."""
        acknowledged = self._acked[tp]
        if not acknowledged:
            return None
        highest: int = max(acknowledged)
        acknowledged.clear()
        self._acked_index[tp].clear()
        return highest + 1


class Recovery(FaustRecovery):
    """What leads from an assignment to reading on."""

    async def _wait(self, coro: Any, timeout: Any = None) -> None:  # noqa: ARG002 - Faust's
        """Wait for positions as long as the store needs; Faust would give up and read no more."""
        await super()._wait(coro)


class TableManager(tables.TableManager):
    """Faust's, with that recovery; there are no tables."""

    _recovery: FaustRecovery | None = None

    async def on_start(self) -> None:
        """Start at once; Faust gives tables a second to make themselves known."""
        await self._update_channels()
        await self.recovery.start()

    @property
    def recovery(self) -> FaustRecovery:
        """What leads from an assignment to reading on."""
        if self._recovery is None:
            self._recovery = Recovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery


class Transport(driver.Transport):
    """Registered as the entry point of `SCHEME` in the group `faust.transports`."""

    Consumer = Consumer


def _position(consumer: Any, tp: TP) -> int | None:
    subscription = consumer._subscription.subscription
    assignment = subscription.assignment if subscription else None
    aiokafka_tp = driver.ensure_aiokafka_TP(tp)
    if assignment is None or aiokafka_tp not in assignment.tps:
        return None
    state = assignment.state_value(aiokafka_tp)
    position: int | None = state.position if state.has_valid_position else None
    return position


def _chunk(tp: TP, records: Sequence[Record], before: int | None, after: int | None) -> Chunk:
    first, last = records[0].offset, records[-1].offset
    return Chunk(
        topic=tp.topic,
        partition=tp.partition,
        # A seek while the fetch was waiting leaves `before` behind or ahead of the records.
        first_position=first if before is None else min(before, first),
        next_position=last + 1 if after is None else max(after, last + 1),
        records=records,
    )
