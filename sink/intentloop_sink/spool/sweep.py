"""The replay of every spool that no live process holds: what `intentloop replay` does.

It may be interrupted anywhere, and run again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from intentloop_schemas import TopicPartition
from intentloop_schemas.failpoint import Failpoint, no_failpoint
from intentloop_sink.outcome import Unavailable
from intentloop_sink.postgres import PostgresSink
from intentloop_sink.spool.errors import SpoolHeldError
from intentloop_sink.spool.lock import LOCK_NAME, is_held
from intentloop_sink.spool.replay import Publish, Replayer, ReplayStep
from intentloop_sink.spool.segments import Extent, Segment, events_in, read_segment, total
from intentloop_sink.spool.spool import Damage, Spool, segment_paths

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Remainder:
    """What is left of one partition, and where the store stands; None when it does not know."""

    partition: TopicPartition
    first_position: int
    next_position: int
    events: int
    stands_at: int | None

    @property
    def reason(self) -> str:
        """Say in a few words why it is still there."""
        if self.stands_at is None:
            return "the store does not know this partition yet"
        if self.stands_at < self.first_position:
            return (
                f"waits for {self.stands_at} to {self.first_position}: a worker reads them from "
                "Kafka, or another spool holds them"
            )
        if self.stands_at >= self.next_position:
            return "stored before, or recorded as lost: a replay finds out"
        return "is next"


@dataclass(frozen=True, slots=True)
class WriterReport:
    """What became of one writer's spool."""

    writer: str
    is_held: bool = False
    """A live process holds it, and replays it itself."""
    events: int = 0
    """What waited when it was opened."""
    stored: int = 0
    duplicates: int = 0
    rejected: int = 0
    fenced: int = 0
    """Records that had been stored before."""
    refused: int = 0
    """Records that became dead letters now."""
    remaining: tuple[Remainder, ...] = ()
    damage: Damage = field(default_factory=Damage)
    error: str | None = None

    def after(self, step: ReplayStep) -> WriterReport:
        """Return the report with one step added."""
        return replace(
            self,
            stored=self.stored + step.stored,
            duplicates=self.duplicates + step.duplicates,
            rejected=self.rejected + step.rejected,
            fenced=self.fenced + step.fenced,
            refused=self.refused + step.refused,
            error=step.error,
        )


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What became of all of them."""

    writers: tuple[WriterReport, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left but what live processes hold."""
        return not any(w.remaining or w.error for w in self.writers if not w.is_held)


Progress = Callable[[WriterReport, int], None]
"""Called after each step with the report so far and the number of events that remain."""


def replay_all(
    folder: Path,
    sink: PostgresSink | None,
    *,
    writers: str = "*",
    dry_run: bool = False,
    publish: Publish | None = None,
    progress: Progress = lambda _report, _remaining: None,
    failpoint: Failpoint = no_failpoint,
) -> ReplayReport:
    """Replay all spools in a folder, again and again until nothing moves: some wait for others.

    `writers` is a pattern for the names of those meant. A dry run changes nothing, needs no `sink`,
    and looks into held spools too. Blocks. Raises SpoolError when a spool cannot be opened, and
    what `publish` raises.
    """
    folders = [lock.parent for lock in sorted(folder.glob(f"{writers}/{LOCK_NAME}"))]
    if dry_run or sink is None:
        return ReplayReport(tuple(_look_at(path, sink) for path in folders))
    origins = _origins(total(_segments_in(path)) for path in folders)
    with ExitStack() as held:
        sweep = [_Replay(path, sink, origins, publish, failpoint, held) for path in folders]
        while sum(replay.run(progress) for replay in sweep):
            log.debug("some batches moved: others may have waited for them")
        return ReplayReport(tuple(replay.result() for replay in sweep))


def waiting(folder: Path) -> dict[TopicPartition, Extent]:
    """Return what waits in all spools in a folder, held ones too, without touching them. Blocks."""
    return total(segment for path in _spools(folder) for segment in _segments_in(path))


class _Replay:
    """One writer's spool in the course of a sweep."""

    def __init__(
        self,
        path: Path,
        sink: PostgresSink,
        origins: Mapping[TopicPartition, int],
        publish: Publish | None,
        failpoint: Failpoint,
        held: ExitStack,
    ) -> None:
        self._sink = sink
        self._spool: Spool | None = None
        try:
            self._spool = held.enter_context(Spool(path.parent, path.name))
        except SpoolHeldError:
            self._report = WriterReport(path.name, is_held=True)
            return
        self._report = WriterReport(path.name, events=self._spool.events)
        self._replayer = Replayer(
            self._spool, sink, publish=publish, origins=origins, failpoint=failpoint
        )

    def run(self, progress: Progress) -> int:
        """Replay until nothing moves or the store fails; return how many batches are gone."""
        if self._spool is None:
            return 0
        before = self._spool.lines
        while not (step := self._replayer.step()).is_over:
            self._report = self._report.after(step)
            progress(self._report, self._spool.events)
            if step.error:
                break
        return before - self._spool.lines

    def result(self) -> WriterReport:
        if self._spool is None:
            return self._report
        remaining = _remainders(self._spool.pending, self._sink)
        return replace(self._report, remaining=remaining, damage=self._spool.damage)


def _spools(folder: Path) -> list[Path]:
    return [lock.parent for lock in sorted(folder.glob(f"*/{LOCK_NAME}"))]


def _look_at(path: Path, sink: PostgresSink | None) -> WriterReport:
    segments = _segments_in(path)
    waiting = total(segments)
    return WriterReport(
        path.name,
        is_held=is_held(path),
        events=events_in(waiting),
        remaining=_remainders(waiting, sink),
        damage=Damage(sum(len(segment.damaged) for segment in segments)),
    )


def _segments_in(path: Path) -> list[Segment]:
    """Read a folder's segments without touching it. Its holder may go on at the same time."""
    segments = []
    for file in segment_paths(path):
        try:
            segments.append(read_segment(file))
        except FileNotFoundError:
            log.debug("%s is stored meanwhile", file)
    return segments


def _origins(spools: Iterable[Mapping[TopicPartition, Extent]]) -> dict[TopicPartition, int]:
    """Return the lowest position of each partition in any spool.

    A partition that the store does not know begins there: if the spool with the higher positions
    came first, the lower ones would look as if they had been stored.
    """
    lowest: dict[TopicPartition, int] = {}
    for spool in spools:
        for partition, extent in spool.items():
            first = extent.first_position
            lowest[partition] = min(first, lowest.get(partition, first))
    return lowest


def _remainders(
    waiting: Mapping[TopicPartition, Extent], sink: PostgresSink | None
) -> tuple[Remainder, ...]:
    lines = sink.lines(waiting) if sink else {}
    known = {} if isinstance(lines, Unavailable) else lines
    return tuple(
        Remainder(
            partition,
            extent.first_position,
            extent.next_position,
            extent.events,
            known[partition].next_position if partition in known else None,
        )
        for partition, extent in sorted(waiting.items())
    )
