"""The spool: batches on disk, in order, until the database takes them.

One folder for each writer, held for as long as its process lives:

    <writer>/00000001.jsonl    a segment: one batch a line
    <writer>/corrupt/          damaged lines, by the name of their segment
    <writer>/refused/          dead letters of a replay that had no Kafka to send them to
    <writer>/spool.lock
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Self

from intentloop_schemas import Batch, DeadLetter, TopicPartition
from intentloop_schemas.failpoint import Failpoint, no_failpoint
from intentloop_sink.spool.cleaning import (
    Clean,
    damaged_lines,
    dead_letters,
    erase_from_segment,
    erase_lines,
    find_in_segment,
    find_lines,
)
from intentloop_sink.spool.durable import Sync, append_to, make_folder, sync_folder, write_file
from intentloop_sink.spool.errors import SpoolError, SpoolFullError
from intentloop_sink.spool.format import Header, decode, encode, encode_letter, header
from intentloop_sink.spool.lock import FolderLock
from intentloop_sink.spool.segments import (
    PATTERN,
    Extent,
    Piece,
    Segment,
    SegmentFile,
    events_in,
    pieces,
    read_segment,
    total,
)

DEFAULT_MAX_BYTES = 1 << 30
DEFAULT_SEGMENT_BYTES = 16 << 20
CORRUPT = "corrupt"
REFUSED = "refused"
REFUSED_FILE = "refused.jsonl"
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

log = logging.getLogger(__name__)


class SpooledBatch(NamedTuple):
    """A batch, and where it stands in the spool."""

    batch: Batch
    events: int
    """How many it was spooled with."""
    segment: Segment
    offset: int


@dataclass(frozen=True, slots=True)
class Damage:
    """What could not be read when the spool was opened or since."""

    lines: int = 0
    """Damaged lines, set aside in `corrupt/`."""
    torn_bytes: int = 0
    """Cut off the end: a crash came between writing and reporting them as safe."""


class Spool:
    """The folder of one writer. Opening it repairs what a crash left behind.

    Safe to call from several threads, though only one may read. `pending`, `events`, `size` and
    `is_empty` never block; the others wait for the disk and for each other.

    Args:
        folder: the folder that holds those of all writers.
        writer: the name of this writer's folder in it.
        max_bytes: how much the segments may hold.
        segment_bytes: a segment is closed at this size.
        sync: brings what was written through a file descriptor to the disk.
        failpoint: called as "spool.before_fsync" and "spool.after_fsync".

    Raises SpoolHeldError when another live process holds the folder, SpoolError when it cannot be
    used, ValueError when the name cannot be a folder's.
    """

    def __init__(
        self,
        folder: Path,
        writer: str,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
        sync: Sync = os.fsync,
        failpoint: Failpoint = no_failpoint,
    ) -> None:
        self.folder = folder / folder_name(writer)
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._sync = sync
        self._failpoint = failpoint
        self._turn = threading.RLock()
        self._active: SegmentFile | None = None
        self._segments: list[Segment] = []
        self._torn_bytes = 0
        self._corrupt_lines = 0
        try:
            self._lock = FolderLock(self.folder, sync)
            self._open()
        except SpoolError:
            raise
        except OSError as error:
            raise SpoolError(
                f"cannot use {self.folder}: {error}; set FALLBACK_DIR to a folder that this user "
                "may write to"
            ) from error
        self._count()

    @property
    def pending(self) -> Mapping[TopicPartition, Extent]:
        """What waits of each partition. A partition without an entry has nothing here."""
        return self._pending

    @property
    def size(self) -> int:
        """Bytes in all segments."""
        return self._size

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._pending

    @property
    def events(self) -> int:
        """How many events wait."""
        return events_in(self._pending)

    @property
    def lines(self) -> int:
        """How many batches wait."""
        return sum(extent.lines for extent in self._pending.values())

    @property
    def damage(self) -> Damage:
        """What could not be read."""
        return Damage(self._corrupt_lines, self._torn_bytes)

    def append(self, batches: Sequence[Batch]) -> None:
        """Append batches; they are on disk, all of them, when it returns. Blocks for the disk.

        Raises SpoolFullError when there is no room and SpoolError for anything else; then none of
        them counts.
        """
        lines = [encode(batch) for batch in batches]
        if not lines:
            return
        with self._turn:
            data = b"".join(lines)
            self._require_room(len(data))
            try:
                self._write(data)
            except OSError as error:
                self._seal()
                raise _not_taken(error, self.folder) from error
            active = self._active_file()
            for batch, line in zip(batches, lines, strict=True):
                active.segment.add(Header.of(batch), len(line))
            if active.segment.size >= self._segment_bytes:
                self._seal()
            self._count()

    def read(
        self, below: Mapping[TopicPartition, int] = MappingProxyType({})
    ) -> Iterator[SpooledBatch]:
        """Yield what waits, oldest first. Blocks for the disk.

        Of the partitions in `below` only what begins below that position. What is appended from now
        on goes to a new segment. A line that cannot be read is set aside. Raises OSError when a
        segment cannot be read.
        """
        with self._turn:
            self._seal()
            segments = list(self._segments)
        for segment in segments:
            if not segment.waiting or segment.has_any(below):
                yield from self._read(segment, below)

    def done(self, stored: Iterable[SpooledBatch]) -> None:
        """Forget batches that are stored; a segment without any other is removed. Blocks."""
        with self._turn:
            for batch, events, segment, offset in stored:
                segment.finish(offset, batch.partition, events)
            for segment in [s for s in self._segments if not s.waiting]:
                self._remove(segment)
            self._count()

    def quarantine(self, letters: Sequence[DeadLetter]) -> None:
        """Keep dead letters in `refused/`, as lines of JSON. Blocks; raises OSError.

        A letter may come twice; topic, partition and offset together name it.
        """
        make_folder(self.folder / REFUSED, self._sync)
        lines = b"".join(map(encode_letter, letters))
        append_to(self.folder / REFUSED / REFUSED_FILE, lines, self._sync)
        log.error("%d refused records are in %s", len(letters), self.folder / REFUSED)

    def erase(self, senders: Collection[str]) -> int:
        """Take all that senders wrote out of the folder; return how many events that was. Blocks.

        Raises OSError; then it may be done in part, and can be done again.
        """
        with self._turn:
            self._seal()
            gone = sum(erase_from_segment(s, senders, self._sync) for s in self._segments)
            self._count()
            for path, clean in other_files(self.folder, senders):
                gone += erase_lines(path, clean, self._sync)
        return gone

    def close(self) -> None:
        """Let go of the folder, and remove it when there is nothing in it. Blocks."""
        with self._turn:
            self._seal()
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> None:
        paths = segment_paths(self.folder)
        numbers = [int(path.stem) for path in [*paths, *segment_paths(self.folder / CORRUPT)]]
        self._next_number = max(numbers, default=0) + 1
        self._segments = [read_segment(path) for path in paths]
        if self._segments:
            self._cut_torn_tail(self._segments[-1])
        for segment in list(self._segments):
            self._report_damaged(segment, segment.damaged)
            if not segment.waiting:
                self._remove(segment)

    def _cut_torn_tail(self, segment: Segment) -> None:
        offset, raw = max(segment.damaged.items(), default=(0, b"\n"))
        if raw.endswith(b"\n") or offset + len(raw) != segment.size:
            return
        os.truncate(segment.path, offset)
        del segment.damaged[offset]
        segment.size = offset
        self._torn_bytes += len(raw)
        log.warning("cut %d bytes of an unfinished line off %s", len(raw), segment.path)

    def _require_room(self, size: int) -> None:
        if self._size + size > self._max_bytes:
            raise SpoolFullError(
                f"{self.folder} holds {self._size} of {self._max_bytes} bytes; bring the database "
                "back, or raise INTENTLOOP_FALLBACK_MAX_MB"
            )

    def _write(self, data: bytes) -> None:
        file = self._active_file()
        try:
            file.write(data)
            self._failpoint("spool.before_fsync")
            file.sync()
            if not file.segment.size:
                sync_folder(self.folder, self._sync)
            self._failpoint("spool.after_fsync")
        except OSError:
            file.cut_back()
            raise

    def _active_file(self) -> SegmentFile:
        if self._active is None:
            path = self.folder / f"{self._next_number:08d}.jsonl"
            self._active = SegmentFile(path, self._sync)
            self._next_number += 1
        return self._active

    def _seal(self) -> None:
        """Write no more to the active segment."""
        file, self._active = self._active, None
        if file is not None:
            file.close()
            if file.segment.size:
                self._segments.append(file.segment)

    def _read(
        self, segment: Segment, below: Mapping[TopicPartition, int]
    ) -> Iterator[SpooledBatch]:
        something_waits = False
        for piece in pieces(segment.path):
            if piece.offset in segment.done or piece.offset in segment.damaged:
                continue
            try:
                batch = _decode(piece, below)
            except ValueError as error:
                segment.damaged[piece.offset] = piece.raw
                self._report_damaged(segment, {piece.offset: error})
                continue
            something_waits = True
            if batch is not None:
                yield SpooledBatch(batch, len(batch.entries), segment, piece.offset)
        if not something_waits:
            with self._turn:
                self._remove(segment)
                self._count()

    def _report_damaged(self, segment: Segment, lines: Collection[int]) -> None:
        if not lines:
            return
        self._corrupt_lines += len(lines)
        log.error("%d damaged lines in %s, at bytes %s", len(lines), segment.path, sorted(lines))
        try:
            self._set_aside(segment)
        except OSError as error:
            log.warning("damaged lines stay in %s for now: %s", segment.path, error)

    def _set_aside(self, segment: Segment) -> None:
        """Copy the damaged lines of a segment to `corrupt/`. Doing so again changes nothing."""
        folder = self.folder / CORRUPT
        make_folder(folder, self._sync)
        lines = (raw.removesuffix(b"\n") + b"\n" for _, raw in sorted(segment.damaged.items()))
        write_file(folder / segment.path.name, b"".join(lines), self._sync)

    def _remove(self, segment: Segment) -> None:
        """Remove a segment of which nothing waits; when that fails it is tried again later."""
        try:
            if segment.damaged:
                self._set_aside(segment)
            segment.path.unlink(missing_ok=True)
            self._segments.remove(segment)
            sync_folder(self.folder, self._sync)
        except OSError as error:
            log.warning("cannot remove %s: %s", segment.path, error)

    def _count(self) -> None:
        active = [self._active.segment] if self._active else []
        segments = [*self._segments, *active]
        self._size = sum(segment.size for segment in segments)
        self._pending: Mapping[TopicPartition, Extent] = MappingProxyType(total(segments))


def find_in_spool(folder: Path, senders: Collection[str]) -> int:
    """Return how many events of senders are in a writer's folder. Its holder may go on."""
    segments = sum(find_in_segment(path, senders) for path in segment_paths(folder))
    others = sum(find_lines(path, clean) for path, clean in other_files(folder, senders))
    return segments + others


def other_files(folder: Path, senders: Collection[str]) -> Iterator[tuple[Path, Clean]]:
    """Yield the files of a writer's folder that are no segments, with what cleans them."""
    for path in segment_paths(folder / CORRUPT):
        yield path, damaged_lines(senders)
    yield folder / REFUSED / REFUSED_FILE, dead_letters(senders)


def segment_paths(folder: Path) -> list[Path]:
    """Return the segments in a folder, oldest first."""
    return sorted(path for path in folder.glob(PATTERN) if path.stem.isdigit())


def folder_name(writer: str) -> str:
    """Return the name of a writer's folder. Raises ValueError when it can be none."""
    if not writer or writer.startswith(".") or "/" in writer or "\0" in writer:
        raise ValueError(
            f"{writer!r} cannot be the name of a folder: choose an INTENTLOOP_INSTANCE_ID of "
            "letters, digits, - and _"
        )
    return writer


def _decode(piece: Piece, below: Mapping[TopicPartition, int]) -> Batch | None:
    """Return the batch of a line, None when it is not wanted now. Raises ValueError."""
    if piece.text is None:
        raise ValueError("the checksum is wrong")
    if below:
        line = header(piece.text)
        if line.first_position >= below.get(line.partition, line.next_position):
            return None
    return decode(piece.text)


def _not_taken(error: OSError, folder: Path) -> SpoolError:
    if error.errno in _NO_ROOM:
        return SpoolFullError(f"no room left in {folder}: {error}; make room on the disk")
    return SpoolError(f"cannot write to {folder}: {error}; see that the disk is well")
