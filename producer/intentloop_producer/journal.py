"""The journal: events wait on disk until they are settled, so that a killed bot loses none.

Segments are files of lines, `{"crc":"...","event":{...}}`, that a person and jq can read. They are
written at one end, read from the other, and removed when all of their events are settled.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from intentloop_producer.journal_folder import (
    PRIVATE_FILE,
    JournalFolder,
    Sync,
    orphans,
    sync_folder,
)
from intentloop_schemas import Event
from intentloop_schemas.lines import LineFormat

LINES = LineFormat("event")
MEGABYTE = 1_000_000
_LARGEST_SEGMENT = MEGABYTE
_SEGMENTS = 8
"""A full journal has at least so many segments, and removes what is settled at that grain."""
_BRIM = 0.9
"""From this share of the bound on, what is left is for what was accepted already."""
_READ_LINES = 1_000


@dataclass(slots=True, eq=False)
class Segment:
    """One file. Its events are unread, then unsettled, then done with."""

    path: Path
    size: int = 0
    read_to: int = 0
    unread: int = 0
    """Events behind `read_to`; an estimate while an adopted segment is damaged."""
    unsettled: int = 0
    is_adopted: bool = False

    @property
    def is_done(self) -> bool:
        """Whether nothing in it is needed any more."""
        return self.read_to >= self.size and not self.unsettled


@dataclass(slots=True)
class Reading:
    """What was read of one segment. Its events have to be settled."""

    segment: Segment
    events: list[tuple[Event, bytes]] = field(default_factory=list)
    damaged: list[bytes] = field(default_factory=list)
    missing: int = 0
    """Events that were expected and are not there; negative when there were more."""


class Journal:
    """Events on disk, first in, first out. Belongs to one thread.

    `root` is shared with other processes, and this one makes itself a folder in it. `max_bytes`
    bounds what it holds. All but `settle` and `close` may raise OSError, and on a system without
    file locks ImportError.
    """

    def __init__(self, root: Path, max_bytes: int, sync: Sync = os.fsync) -> None:
        self.root = root
        self._max_bytes = max_bytes
        self._segment_bytes = min(_LARGEST_SEGMENT, max_bytes // _SEGMENTS)
        self._sync = sync
        self._folder: JournalFolder | None = None
        self._segments: list[Segment] = []
        self._writer: _Writer | None = None
        self._born = 0

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(segment.size for segment in self._segments)

    @property
    def is_full(self) -> bool:
        """Whether nothing should be accepted now; what was accepted before still fits in."""
        return self.size >= self._max_bytes * _BRIM

    @property
    def kept(self) -> int:
        """How many events are not settled."""
        return self.unread + sum(segment.unsettled for segment in self._segments)

    @property
    def unread(self) -> int:
        """How many events are on disk only."""
        return sum(segment.unread for segment in self._segments)

    @property
    def is_read(self) -> bool:
        """Whether everything in it was handed out."""
        return all(segment.read_to >= segment.size for segment in self._segments)

    def adopt(self) -> int:
        """Take over what dead processes have left, as far as there is room; return of how many.

        The journal has to be empty: what it holds would be older or newer than what comes.
        """
        processes = 0
        for orphan in orphans(self.root):
            paths = orphan.segments()
            room = self._max_bytes - sum(path.stat().st_size for path in paths)
            # One that is larger than the bound, which was higher once, is taken alone.
            if processes and self.size > room:
                continue
            self._seal()
            own = self._own_folder().path
            for path in paths:
                self._segments.append(_adopted(path.rename(own / path.name)))
            processes += 1
        self._segments.sort(key=_born)
        # A clock may have been set back since.
        self._born = max(map(_born, self._segments), default=self._born)
        return processes

    def append(self, values: Sequence[bytes]) -> tuple[Segment, int]:
        """Bring as many events to the disk as there is room for, and return how many. Blocks."""
        writer = self._open_writer()
        if lines := self._fitting(values):
            try:
                writer.append(b"".join(lines), self._sync)
            except OSError:
                self._seal()
                raise
            writer.segment.unread += len(lines)
        return writer.segment, len(lines)

    def hand_out(self, segment: Segment) -> None:
        """Count all events of a segment as read: the caller still has what it appended."""
        segment.unsettled += segment.unread
        segment.read_to, segment.unread = segment.size, 0

    def read(self) -> Reading:
        """Hand out the next events, those first that came first; a damaged line is set aside."""
        segment = next(each for each in self._segments if each.read_to < each.size)
        reading = Reading(segment)
        try:
            _read_into(reading)
        except OSError:
            segment.read_to = segment.size
        if reading.damaged:
            self._set_aside(segment, reading.damaged)
        if segment.read_to >= segment.size:
            reading.missing, segment.unread = segment.unread, 0
        segment.unsettled += len(reading.events)
        self._remove_if_done(segment)
        return reading

    def settle(self, segment: Segment) -> None:
        """Count one event of a segment as settled. Never raises."""
        segment.unsettled -= 1
        self._remove_if_done(segment)

    def close(self) -> int:
        """Let go of the folder; return how many events are left in it. Never raises."""
        self._seal()
        if self._folder is not None:
            self._folder.release()
            self._folder = None
        return self.kept

    def _fitting(self, values: Sequence[bytes]) -> list[bytes]:
        room = self._max_bytes - self.size
        lines = []
        for value in values:
            line = LINES.encode(value)
            room -= len(line)
            if room < 0:
                break
            lines.append(line)
        return lines

    def _own_folder(self) -> JournalFolder:
        if self._folder is not None and not self._folder.path.is_dir():
            self._folder.release()
            self._folder = None
        if self._folder is None:
            self._folder = JournalFolder.make(self.root, self._sync)
        return self._folder

    def _open_writer(self) -> _Writer:
        if self._writer and self._writer.segment.size >= self._segment_bytes:
            self._seal()
        if self._writer is None:
            folder = self._own_folder().path
            self._born = max(time.time_ns(), self._born + 1)
            self._writer = _Writer(folder / f"{self._born:020d}-{folder.name}.jsonl")
            self._segments.append(self._writer.segment)
            sync_folder(folder, self._sync)
        return self._writer

    def _seal(self) -> None:
        """Write no more to the newest segment."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()
            self._remove_if_done(writer.segment)

    def _remove_if_done(self, segment: Segment) -> None:
        if not segment.is_done:
            return
        if self._writer and segment is self._writer.segment:
            self._writer.empty()
            return
        with suppress(OSError):
            segment.path.unlink(missing_ok=True)
        self._segments.remove(segment)

    def _set_aside(self, segment: Segment, damaged: Sequence[bytes]) -> None:
        path = self.root / f"{segment.path.stem}.damaged"
        with suppress(OSError), open(path, "ab", opener=_private) as file:
            file.writelines(raw.rstrip(b"\n") + b"\n" for raw in damaged)


class _Writer:
    """The segment that is being written. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self._descriptor = _private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)
        self.segment = Segment(path)

    def append(self, data: bytes, sync: Sync) -> None:
        """Bring lines to the disk. After an error none of them counts."""
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            sync(self._descriptor)
            if not os.fstat(self._descriptor).st_nlink:
                raise FileNotFoundError(f"{self.segment.path} was removed")
        except OSError:
            # Lines that stay nevertheless are sent twice, which the store forgives.
            with suppress(OSError):
                os.ftruncate(self._descriptor, self.segment.size)
            raise
        self.segment.size += len(data)

    def empty(self) -> None:
        """Use the file again from its start. Never raises: one that stays is used on."""
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            self.segment.size = self.segment.read_to = 0

    def close(self) -> None:
        """Write no more. Never raises."""
        with suppress(OSError):
            os.close(self._descriptor)


def _adopted(path: Path) -> Segment:
    data = path.read_bytes()
    return Segment(path, size=len(data), unread=data.count(b"\n"), is_adopted=True)


def _born(segment: Segment) -> int:
    """Return when a segment was begun, in epoch ns; 0 for a file that was not named here."""
    digits = segment.path.stem.partition("-")[0]
    return int(digits) if digits.isdecimal() else 0


def _read_into(reading: Reading) -> None:
    """Read some lines, or fail in the middle of them with OSError."""
    segment = reading.segment
    with segment.path.open("rb") as file:
        file.seek(segment.read_to)
        for raw in islice(file, _READ_LINES):
            if segment.read_to >= segment.size:
                break
            segment.read_to += len(raw)
            # Half a line at the end was cut off by a crash, before it counted.
            if raw.endswith(b"\n"):
                _sort(raw, reading)


def _sort(line: bytes, reading: Reading) -> None:
    for piece in LINES.pieces(line):
        reading.segment.unread -= 1
        try:
            text = piece.text or b""
            reading.events.append((Event.model_validate_json(text), text))
        except ValueError:
            reading.damaged.append(piece.raw)


def _private(path: str | Path, flags: int) -> int:
    return os.open(path, flags, PRIVATE_FILE)
