"""Closed batches on their way into the store: gathered into groups, one transaction each.

Batch by batch would cost a transaction for ten rows; a group shares one among thousands.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, assert_never

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
from intentloop_sink.spool import Extent, Replayer, Spool, SpoolError, replay_all
from intentloop_stream.dead_letters import refused_letter
from intentloop_stream.store_thread import Attempt, Sink, StoreThread
from intentloop_stream.storm import StormWatch
from intentloop_stream.surroundings import Surroundings

GROUP_ENTRIES = 20_000
"""Entries in one transaction under a backlog."""
MAX_WAITING_ENTRIES = GROUP_ENTRIES
"""Closed entries held in memory before reading pauses."""
_AHEAD = 2
"""Groups with the store: one that it stores, and one to go on with."""
_MAX_BACKOFF_SECONDS = 5.0
_REPLAY_PAUSE_SECONDS = 1.0
_ADOPTION_SECONDS = 30.0
_RETRIES = 5
"""How often a group is tried again before it is spooled, when the database is well."""
_RECONNECTS = 1
"""The same when it is away: a connection that was cut while idle shows only when it is used."""

_STORE, _LOOKUP = "store", "lookup"
"""Names of waits."""

T = TypeVar("T")

log = structlog.get_logger(__name__)

Publish = Callable[[Sequence[DeadLetter]], Coroutine[Any, Any, None]]
Ahead: TypeAlias = asyncio.Future[Attempt | None]
"""What becomes of a group that was handed over before its turn; None when it was held back."""


class GroupCommit:
    """Stores batches in the order in which they come, all that wait at a time.

    The store's work runs in one thread, one call at a time; everything else on the event loop. A
    group is handed over while the one before is stored, so that the store does not wait for an
    event loop that decodes; it holds it back when the one before failed.

    Args:
        sink: the store.
        spool: takes what the store cannot. A partition that waits there goes through it, in order,
            until it is empty again. None where files are the store.
        publish: must not return before the dead letters are safe.
        on_stored: told up to where partitions are safe, in the store or in the spool.
        on_out_of_turn: called when the store stands elsewhere than this worker thought.
        storms: told what the store takes and refuses.
        surroundings: the failpoint is called as "ack.before", and in replay.
    """

    def __init__(
        self,
        sink: Sink,
        spool: Spool | None,
        *,
        publish: Publish,
        on_stored: Callable[[Mapping[TopicPartition, int]], None],
        on_out_of_turn: Callable[[], Awaitable[None]],
        storms: StormWatch,
        surroundings: Surroundings,
    ) -> None:
        self._sink = sink
        self._spool = spool
        self._publish = publish
        self._on_stored = on_stored
        self._on_out_of_turn = on_out_of_turn
        self._storms = storms
        self._clock = surroundings.clock
        self._backpressure = surroundings.backpressure
        self._metrics = surroundings.metrics
        self._failpoint = surroundings.failpoint
        self._waiting: deque[Batch] = deque()
        self._waiting_entries = 0
        self._store_thread = StoreThread(sink)
        self._groups = 0
        self._last: asyncio.Task[None] | None = None
        self._ahead: Ahead | None = None
        self._changed = asyncio.Condition()

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
        await self._until(lambda: not self._waiting and not self._groups)

    async def lines(
        self, earliest: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, OffsetLine]:
        """Return where partitions stand in store and spool; waits as long as the store is away.

        A partition that neither knows begins at its `earliest` offset in Kafka.
        """
        lines = await self._insist(partial(self._sink.lines_from, earliest))
        return {p: self._behind_spool(p, lines[p]) for p in earliest}

    async def record_loss(self, partition: TopicPartition, next_position: int) -> None:
        """Record that the log has nothing before a position any more; waits for the store."""
        await self._insist(partial(self._sink.record_loss, partition, next_position))

    async def run(self) -> None:
        """Store what comes and replay what was spooled, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            if self._spool is not None and isinstance(self._sink, PostgresSink):
                tasks.create_task(self._replay(self._spool, self._sink))
            while True:
                await self._until(self._worth_a_transaction)
                batches = self._take_group()
                await self._notify()
                prepared = self._sink.prepare(batches)
                self._ahead = self._hand_over(prepared)
                self._groups += 1
                work = self._commit(batches, prepared, self._ahead, self._last)
                self._last = tasks.create_task(work)

    @property
    def _pending(self) -> Mapping[TopicPartition, Extent]:
        return self._spool.pending if self._spool is not None else {}

    def _behind_spool(self, partition: TopicPartition, line: OffsetLine) -> OffsetLine:
        """Go on behind what waits in the spool, if that goes on where the store stands."""
        extent = self._pending.get(partition)
        run = extent.run_from(line.next_position) if extent else None
        return OffsetLine(run.next_position, run.highest_timestamp) if run else line

    def _worth_a_transaction(self) -> bool:
        """While one transaction runs, gather a full group; otherwise take what there is."""
        if self._groups:
            return self._groups < _AHEAD and self._waiting_entries >= GROUP_ENTRIES
        return bool(self._waiting)

    def _take_group(self) -> list[Batch]:
        group: list[Batch] = []
        entries = 0
        while self._waiting and entries < GROUP_ENTRIES:
            group.append(self._waiting.popleft())
            entries += len(group[-1].entries)
        self._waiting_entries -= entries
        return group

    def _hand_over(self, prepared: Prepared) -> Ahead | None:
        """Give the store a group to go on with, unless it must wait for another or in the spool."""
        is_behind = bool(self._groups) and _is_held_back(self._ahead)
        if is_behind or self._must_spool(prepared.batches):
            return None
        return self._store_thread.store_next(prepared)

    async def _commit(
        self,
        batches: list[Batch],
        prepared: Prepared,
        ahead: Ahead | None,
        before: asyncio.Task[None] | None,
    ) -> None:
        """Bring a group into the store or the spool, however often that takes, behind another."""
        if before is not None:
            await before
        done = await ahead if ahead is not None else None
        attempt = 0
        while batches:
            left = await self._attempt(batches, prepared, attempt, done)
            done = None
            if left is batches:
                self._backpressure.declare(_STORE, "neither database nor fallback takes anything")
                attempt += 1
                await back_off(attempt)
            else:
                self._backpressure.end(_STORE)
                batches, prepared = left, self._sink.prepare(left)
        self._groups -= 1
        await self._notify()

    async def _attempt(
        self, batches: list[Batch], prepared: Prepared, attempt: int, done: Attempt | None
    ) -> list[Batch]:
        """Try once, unless that is `done`; return what is left, the same list when it is all."""
        if done is None:
            if self._must_spool(batches):
                return await self._spool_behind(batches)
            done = await self._store_thread.store(prepared)
        outcome = done.outcome
        match outcome:
            case Stored():
                self._metrics.stored(outcome, batches, seconds=done.seconds, now=self._clock())
                self._failpoint("ack.before")
                self._on_stored(outcome.next_positions)
                self._storms.stored(outcome.stored + outcome.duplicates)
                return []
            case Refused():
                total = sum(len(batch.entries) for batch in batches)
                self._metrics.rejected(r.reason for r in outcome.refusals)
                self._storms.refused([r.reason for r in outcome.refusals], of=total)
                await self._publish([refused_letter(r) for r in outcome.refusals])
                return without(batches, [r.entry for r in outcome.refusals])
            case OutOfTurn():
                log.warning("out_of_turn", partition=outcome.partition, expected=outcome.expected)
                await self._on_out_of_turn()
                return [b for b in batches if b.partition != outcome.partition]
            case Retry() | Unavailable():
                self._metrics.store_failed()
                log.warning("store_failed", error=outcome.error, attempt=attempt)
                patience = _RETRIES if isinstance(outcome, Retry) else _RECONNECTS
                spooled = attempt >= patience and await self._spool_all(batches)
                return [] if spooled else batches
            case _:
                assert_never(outcome)

    def _must_spool(self, batches: Iterable[Batch]) -> bool:
        """Tell whether a partition of these waits in the spool: what follows waits behind it."""
        pending = self._pending
        return any(batch.partition in pending for batch in batches)

    async def _spool_behind(self, batches: list[Batch]) -> list[Batch]:
        """Send partitions that wait in the spool after what waits there; return the others."""
        pending = set(self._pending)
        behind = [batch for batch in batches if batch.partition in pending]
        ahead = [batch for batch in batches if batch.partition not in pending]
        return ahead if await self._spool_all(behind) else batches

    async def _spool_all(self, batches: list[Batch]) -> bool:
        """Spool batches, which makes them safe; tell whether that worked."""
        if self._spool is None:
            return False
        try:
            await self._store_thread.run(partial(self._spool.append, batches))
        except SpoolError as error:
            log.critical("spool_failed", error=str(error), advice="Kafka keeps what is not stored")
            return False
        count = sum(batch.batches for batch in batches)
        self._metrics.spooled(count)
        log.warning("spooled", batches=count, waiting=self._spool.events)
        self._on_stored({batch.partition: batch.next_position for batch in batches})
        await self._notify()
        return True

    async def _replay(self, spool: Spool, sink: PostgresSink) -> None:
        """Bring what was spooled into the store, group by group, as soon as it is back."""
        publish = _from_thread(self._publish)
        replayer = Replayer(spool, sink, publish=publish, failpoint=self._failpoint)
        waiting: dict[TopicPartition, int] = {}
        while True:
            await self._until(lambda: not spool.is_empty)
            step = await self._store_thread.run(replayer.step)
            if step.is_over and step.waiting and waiting != step.waiting:
                # What comes before is not in this spool: Kafka may still have it.
                waiting = dict(step.waiting)
                await self._on_out_of_turn()
            if step.error or step.is_over:
                log.info("replay_waits", error=step.error, waiting=spool.events)
                await asyncio.sleep(_REPLAY_PAUSE_SECONDS)
            else:
                log.info("replayed", stored=step.stored, waiting=spool.events)

    async def _insist(self, call: Callable[[], T | Unavailable]) -> T:
        attempt = 0
        while True:
            result = await self._store_thread.run(call)
            if not isinstance(result, Unavailable):
                self._backpressure.end(_LOOKUP)
                return result
            self._backpressure.declare(_LOOKUP, "the database does not say where it stands")
            attempt += 1
            log.warning("store_failed", error=result.error, attempt=attempt)
            await back_off(attempt)

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(condition)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


async def adopt_orphans(folder: Path, sink: PostgresSink, publish: Publish) -> None:
    """Replay, now and then, what workers left in the spool that did not come back."""
    while True:
        try:
            call = partial(replay_all, folder, sink, publish=_from_thread(publish))
            report = await asyncio.to_thread(call)
        except SpoolError as error:
            log.warning("orphan_not_replayed", error=str(error))
        else:
            log.debug("orphans", report=report)
        await asyncio.sleep(_ADOPTION_SECONDS)


def _is_held_back(ahead: Ahead | None) -> bool:
    return ahead is None or (ahead.done() and ahead.result() is None)


def _from_thread(publish: Publish) -> Callable[[Sequence[DeadLetter]], None]:
    """Return a call that publishes on this event loop and blocks the thread that calls it."""
    loop = asyncio.get_running_loop()

    def wait(letters: Sequence[DeadLetter]) -> None:
        asyncio.run_coroutine_threadsafe(publish(letters), loop).result()

    return wait


async def back_off(attempt: int) -> None:
    """Wait before the store is tried again: longer each time, 5 s at the most."""
    # Bounded before it is raised: after an hour the power would be too large for a float.
    await asyncio.sleep(min(0.05 * 2 ** min(attempt, 10), _MAX_BACKOFF_SECONDS))
