"""Closed batches on their way into the store: gathered into groups, one transaction each.

Batch by batch would cost a transaction for ten rows; a group shares one among thousands.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar, assert_never

import structlog

from intentloop_schemas import Batch, DeadLetter, TopicPartition
from intentloop_sink import (
    OffsetLine,
    OutOfTurn,
    PostgresSink,
    Prepared,
    Refused,
    Retry,
    Stored,
    Unavailable,
    without,
)
from intentloop_stream.dead_letters import refused_letter

GROUP_ENTRIES = 10_000
"""Entries in one transaction under a backlog."""
MAX_WAITING_ENTRIES = 2 * GROUP_ENTRIES
"""Closed entries held in memory before reading pauses."""
_MAX_BACKOFF_SECONDS = 5.0

T = TypeVar("T")

log = structlog.get_logger(__name__)

Publish = Callable[[Sequence[DeadLetter]], Awaitable[None]]


class GroupCommit:
    """Stores batches in the order in which they come, all that wait at a time.

    The store's work runs in one thread, one call at a time; everything else on the event loop.

    Args:
        sink: the store.
        publish: must not return before the dead letters are safe.
        on_stored: told where partitions stand after each transaction.
        on_out_of_turn: called when the store stands elsewhere than this worker thought.
    """

    def __init__(
        self,
        sink: PostgresSink,
        *,
        publish: Publish,
        on_stored: Callable[[Mapping[TopicPartition, int]], None],
        on_out_of_turn: Callable[[], Awaitable[None]],
    ) -> None:
        self._sink = sink
        self._publish = publish
        self._on_stored = on_stored
        self._on_out_of_turn = on_out_of_turn
        self._waiting: deque[Batch] = deque()
        self._waiting_entries = 0
        self._storing = False
        self._changed = asyncio.Condition()
        self._store_thread = ThreadPoolExecutor(1, "store")

    async def put(self, batches: Iterable[Batch]) -> None:
        """Add batches. Does not wait for them; `room` does."""
        for batch in batches:
            self._waiting.append(batch)
            self._waiting_entries += len(batch.entries)
        await self._notify()

    async def forget(self) -> None:
        """Throw away what is not in a transaction yet: it will be read again."""
        self._waiting.clear()
        self._waiting_entries = 0
        await self._notify()

    async def room(self) -> None:
        """Wait until so little is waiting that reading may go on."""
        await self._until(lambda: self._waiting_entries < MAX_WAITING_ENTRIES)

    async def idle(self) -> None:
        """Wait until everything is stored."""
        await self._until(lambda: not self._waiting and not self._storing)

    async def lines(self, partitions: list[TopicPartition]) -> dict[TopicPartition, OffsetLine]:
        """Return where the store stands; waits as long as it is away."""
        return await self._insist(partial(self._sink.lines, partitions))

    async def record_loss(self, partition: TopicPartition, next_position: int) -> None:
        """Record that the log has nothing before a position any more; waits for the store."""
        await self._insist(partial(self._sink.record_loss, partition, next_position))

    async def run(self) -> None:
        """Store what comes, until cancelled."""
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
            outcome = await self._in_store_thread(partial(self._sink.store, prepared))
            match outcome:
                case Stored():
                    self._on_stored(outcome.next_positions)
                    break
                case Refused():
                    await self._publish([refused_letter(r) for r in outcome.refusals])
                    batches = without(batches, [r.entry for r in outcome.refusals])
                case OutOfTurn():
                    log.warning(
                        "out_of_turn", partition=outcome.partition, expected=outcome.expected
                    )
                    batches = [b for b in batches if b.partition != outcome.partition]
                    await self._on_out_of_turn()
                case Retry() | Unavailable():
                    attempt += 1
                    await back_off(outcome.error, attempt)
                    continue
                case _:
                    assert_never(outcome)
            prepared = self._sink.prepare(batches)
        self._storing = False
        await self._notify()

    async def _insist(self, call: Callable[[], T | Unavailable]) -> T:
        attempt = 0
        while True:
            result = await self._in_store_thread(call)
            if not isinstance(result, Unavailable):
                return result
            attempt += 1
            await back_off(result.error, attempt)

    async def _in_store_thread(self, call: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._store_thread, call)

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
