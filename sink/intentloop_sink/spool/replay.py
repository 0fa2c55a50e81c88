"""Replay: what waits in a spool goes into the store, by the same transaction as everything else.

A range that was stored before, by whomever, lies below its partition's position and is dropped
there, so a replay may end anywhere and begin again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import assert_never

from intentloop_schemas import DeadLetter, Source, TopicPartition
from intentloop_schemas.failpoint import Failpoint, no_failpoint
from intentloop_sink.cuts import without
from intentloop_sink.outcome import OutOfTurn, Refusal, Refused, Retry, Stored, Unavailable
from intentloop_sink.postgres import PostgresSink
from intentloop_sink.spool.spool import Spool, SpooledBatch

GROUP_EVENTS = 10_000
"""Events in one transaction."""

Publish = Callable[[Sequence[DeadLetter]], None]


@dataclass(frozen=True, slots=True)
class ReplayStep:
    """What one step came to."""

    stored: int = 0
    """Examples that are new."""
    duplicates: int = 0
    """Events that were there before."""
    rejected: int = 0
    """Records that went to the dead letters, now or when they were spooled."""
    fenced: int = 0
    """Records whose positions had been stored before."""
    refused: int = 0
    """Dead letters that this step made."""
    waiting: Mapping[TopicPartition, int] = field(default_factory=dict)
    """Partitions that cannot go on before the store reaches the given position from elsewhere:
    what comes there is not in this spool, or what is there overlaps in a way nobody can cut."""
    error: str | None = None
    """Why the store took nothing; try again later."""
    is_over: bool = False
    """Nothing is left but what waits; the next step tries that again."""


class Replayer:
    """Brings a spool into the store, step by step. Blocks; for one thread at a time.

    Args:
        spool: where the batches wait.
        sink: the store.
        publish: must not return before the dead letters are safe; whatever it raises, the step
            raises, and nothing is forgotten. Without it they are kept beside the spool.
        origins: where partitions begin that the store does not know yet. Without an entry a
            partition begins with the first that is spooled of it.
        group_events: how many events one transaction stores.
        failpoint: called as "replay.after_commit".
    """

    def __init__(
        self,
        spool: Spool,
        sink: PostgresSink,
        *,
        publish: Publish | None = None,
        origins: Mapping[TopicPartition, int] = MappingProxyType({}),
        group_events: int = GROUP_EVENTS,
        failpoint: Failpoint = no_failpoint,
    ) -> None:
        self._spool = spool
        self._sink = sink
        self._publish = publish or spool.quarantine
        self._origins = origins
        self._group_events = group_events
        self._failpoint = failpoint
        self._waiting: dict[TopicPartition, int] = {}
        # Behind a gap: of each waiting partition, where that begins which cannot go on.
        self._held_back: dict[TopicPartition, int] = {}

    def step(self) -> ReplayStep:
        """Store the next group and forget it. One transaction, repeated where rows are refused."""
        away = self._look_up()
        if away:
            return away
        try:
            group = self._next_group()
        except OSError as error:
            return ReplayStep(error=f"cannot read {self._spool.folder}: {error}")
        if not group:
            waiting, self._waiting = self._waiting, {}
            self._held_back = {}
            return ReplayStep(waiting=waiting, is_over=True)
        return self._store(group)

    def _next_group(self) -> list[SpooledBatch]:
        group: list[SpooledBatch] = []
        events = 0
        for spooled in self._spool.read(self._held_back):
            spooled.batch.source = Source.REPLAY
            group.append(spooled)
            events += len(spooled.batch.entries)
            if events >= self._group_events:
                break
        return group

    def _look_up(self) -> ReplayStep | None:
        """Ask where partitions stand: nothing need be read for a store that is away.

        Those wait that would begin in the store above their origin.
        """
        pending = self._spool.pending
        lines = self._sink.lines(pending)
        if isinstance(lines, Unavailable):
            return ReplayStep(error=lines.error)
        for partition in pending.keys() & self._origins.keys() - lines.keys():
            origin, first = self._origins[partition], pending[partition].first_position
            if first > origin:
                self._waiting[partition] = origin
                self._held_back[partition] = first
        return None

    def _in_turn(self, group: list[SpooledBatch]) -> list[SpooledBatch]:
        held_back = self._held_back
        return [
            spooled
            for spooled in group
            if spooled.batch.partition not in held_back
            or spooled.batch.first_position < held_back[spooled.batch.partition]
        ]

    def _store(self, group: list[SpooledBatch]) -> ReplayStep:
        refused = 0
        while group:
            prepared = self._sink.prepare([spooled.batch for spooled in group])
            outcome = self._sink.store(prepared)
            match outcome:
                case Stored():
                    self._failpoint("replay.after_commit")
                    self._spool.done(group)
                    self._readmit(outcome.next_positions)
                    return _progress(outcome, refused, dict(self._waiting))
                case Refused():
                    self._publish([_letter(refusal) for refusal in outcome.refusals])
                    refused += len(outcome.refusals)
                    group = _without(group, outcome.refusals)
                case OutOfTurn():
                    group = self._before_the_gap(group, outcome)
                case Retry() | Unavailable():
                    return ReplayStep(error=outcome.error, refused=refused)
                case _:
                    assert_never(outcome)
        return ReplayStep(refused=refused, waiting=dict(self._waiting))

    def _before_the_gap(self, group: list[SpooledBatch], gap: OutOfTurn) -> list[SpooledBatch]:
        """Hold back what lies behind a gap; what closes the gap may stand further on."""
        behind = [
            spooled.batch.first_position
            for spooled in group
            if spooled.batch.partition == gap.partition
            and spooled.batch.next_position > gap.expected
        ]
        self._waiting[gap.partition] = gap.expected
        self._held_back[gap.partition] = min(behind)
        return self._in_turn(group)

    def _readmit(self, positions: Mapping[TopicPartition, int]) -> None:
        """Hold nothing back any more where the gap is closed."""
        for partition, position in positions.items():
            if position >= self._held_back.get(partition, position + 1):
                del self._held_back[partition], self._waiting[partition]


def _without(group: list[SpooledBatch], refusals: Sequence[Refusal]) -> list[SpooledBatch]:
    batches = without([s.batch for s in group], [refusal.entry for refusal in refusals])
    return [s._replace(batch=batch) for s, batch in zip(group, batches, strict=True)]


def _progress(outcome: Stored, refused: int, waiting: Mapping[TopicPartition, int]) -> ReplayStep:
    return ReplayStep(
        outcome.stored,
        outcome.duplicates,
        outcome.rejected,
        outcome.fenced,
        refused,
        waiting,
    )


def _letter(refusal: Refusal) -> DeadLetter:
    record, partition = refusal.entry.record, refusal.partition
    return DeadLetter(
        reason=refusal.reason,
        error=refusal.error,
        topic=partition.topic,
        partition=partition.partition,
        offset=record.offset,
        timestamp=record.timestamp,
        key=record.key,
        value=record.value,
    )
