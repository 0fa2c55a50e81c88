"""Segments: files of lines, written once from front to back, and what of them still waits."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from intentloop_schemas import TopicPartition
from intentloop_sink.spool.durable import PRIVATE_FILE, Sync, write_all
from intentloop_sink.spool.format import LINES, Header, header

PATTERN = "*.jsonl"

log = logging.getLogger(__name__)


class Run(NamedTuple):
    """Positions without a gap, and the highest event time, epoch ms, below their end."""

    first_position: int
    next_position: int
    highest_timestamp: int


@dataclass(slots=True)
class Extent:
    """What waits of one partition."""

    runs: list[Run] = field(default_factory=list)
    """In order; there are several when something between them is missing."""
    lines: int = 0
    events: int = 0

    @property
    def first_position(self) -> int:
        """Where the first run begins."""
        return self.runs[0].first_position

    @property
    def next_position(self) -> int:
        """Where the last run ends."""
        return self.runs[-1].next_position

    @property
    def highest_timestamp(self) -> int:
        """Highest event time below `next_position`, epoch ms."""
        return self.runs[-1].highest_timestamp

    def run_from(self, position: int) -> Run | None:
        """Return the run that holds or touches a position: its end is where to read on."""
        held = (run for run in self.runs if run.first_position <= position <= run.next_position)
        return next(held, None)

    def reach(self, position: int) -> int:
        """Return up to where there is everything from a position on."""
        run = self.run_from(position)
        return run.next_position if run else position

    def count(self, line: Header) -> None:
        """Add a line."""
        run = Run(line.first_position, line.next_position, line.highest_timestamp)
        self.add([run], lines=1, events=line.events)

    def add(self, runs: Iterable[Run], *, lines: int, events: int) -> None:
        """Add what waits elsewhere of the same partition."""
        self.lines += lines
        self.events += events
        self.runs = _joined([*self.runs, *runs])


class Piece(NamedTuple):
    """A line, or what is damaged: then there is no text."""

    offset: int
    raw: bytes
    text: bytes | None


@dataclass(slots=True)
class Segment:
    """One file, and which of its lines still wait. Lines are known by their offset in bytes."""

    path: Path
    size: int = 0
    waiting: dict[TopicPartition, Extent] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    damaged: dict[int, bytes] = field(default_factory=dict)

    def add(self, line: Header, size: int) -> None:
        """Count a line at the end of the segment."""
        self.waiting.setdefault(line.partition, Extent()).count(line)
        self.size += size

    def has_any(self, below: Mapping[TopicPartition, int]) -> bool:
        """Tell whether something waits, of the partitions in `below` only what begins below."""
        return any(
            partition not in below or extent.first_position < below[partition]
            for partition, extent in self.waiting.items()
        )

    def finish(self, offset: int, partition: TopicPartition, events: int) -> None:
        """Count a line as done."""
        if offset in self.done:
            return
        self.done.add(offset)
        extent = self.waiting.get(partition)
        if extent is None:
            return
        extent.lines -= 1
        extent.events -= events
        if extent.lines <= 0:
            del self.waiting[partition]


def read_segment(path: Path) -> Segment:
    """Read through a segment; whatever is damaged in it is noted, and hides no line behind it."""
    segment = Segment(path)
    for piece in pieces(path):
        line = _understood(piece)
        if line is None:
            segment.damaged[piece.offset] = piece.raw
            segment.size += len(piece.raw)
        else:
            segment.add(line, len(piece.raw))
    return segment


def pieces(path: Path, start: int = 0) -> Iterator[Piece]:
    """Yield the lines of a segment and what is damaged, in order, from a line's start on."""
    offset = start
    with path.open("rb") as file:
        file.seek(start)
        for line in file:
            for raw, text in LINES.pieces(line):
                yield Piece(offset, raw, text)
                offset += len(raw)


def total(segments: Iterable[Segment]) -> dict[TopicPartition, Extent]:
    """Return what waits in several segments, given oldest first."""
    waiting: dict[TopicPartition, Extent] = {}
    for segment in segments:
        for partition, extent in segment.waiting.items():
            sum_ = waiting.setdefault(partition, Extent())
            sum_.add(extent.runs, lines=extent.lines, events=extent.events)
    return waiting


def events_in(waiting: Mapping[TopicPartition, Extent]) -> int:
    """Return how many events wait."""
    return sum(extent.events for extent in waiting.values())


class SegmentFile:
    """The segment that is being written. Raises FileExistsError when there is one of its name."""

    def __init__(self, path: Path, sync: Sync) -> None:
        self.segment = Segment(path)
        self._sync = sync
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._descriptor = os.open(path, flags, PRIVATE_FILE)

    def write(self, data: bytes) -> None:
        """Write behind what is there; not yet on disk. Raises OSError."""
        write_all(self._descriptor, data)

    def sync(self) -> None:
        """Bring what was written to the disk. Raises OSError, also when the file was removed."""
        self._sync(self._descriptor)
        if not os.fstat(self._descriptor).st_nlink:
            raise FileNotFoundError(f"{self.segment.path} was removed while it was being written")

    def cut_back(self) -> None:
        """Cut off what was written and does not count, as far as the disk lets us."""
        try:
            os.ftruncate(self._descriptor, self.segment.size)
        except OSError as error:
            # Whole lines that stay are stored or known by their positions; half a one is set aside.
            log.warning("cannot cut %s back: %s", self.segment.path, error)

    def close(self) -> None:
        """Close it; one without a line is removed."""
        os.close(self._descriptor)
        if not self.segment.size:
            with suppress(OSError):
                self.segment.path.unlink(missing_ok=True)


def _understood(piece: Piece) -> Header | None:
    try:
        return header(piece.text) if piece.text is not None else None
    except ValueError:
        return None


def _joined(runs: list[Run]) -> list[Run]:
    joined: list[Run] = []
    for run in sorted(runs):
        if not joined or run.first_position > joined[-1].next_position:
            joined.append(run)
        elif run.next_position > joined[-1].next_position:
            joined[-1] = Run(joined[-1].first_position, *run[1:])
    return joined
