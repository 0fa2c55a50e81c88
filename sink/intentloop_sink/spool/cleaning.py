"""Taking senders out of the files of a spool.

Events leave their batch, which says so: its range still tiles the log. A line keeps its length,
with blanks, because whoever has read the file knows its lines by their offset in bytes.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from intentloop_schemas.senders import senders_in, senders_of
from intentloop_sink.cuts import suppress
from intentloop_sink.spool.durable import PRIVATE_FILE, Sync, sync_folder, write_all
from intentloop_sink.spool.format import decode, encode
from intentloop_sink.spool.segments import Piece, Segment, pieces

_UNFINISHED = ".part"


class Cleaned(NamedTuple):
    """A line without some senders, and how many events of theirs it held."""

    line: bytes
    events: int


Clean = Callable[[bytes], Cleaned]


def erase_from_segment(segment: Segment, senders: Collection[str], sync: Sync) -> int:
    """Take senders out of a segment that nobody writes; return how many events that was."""
    if not find_in_segment(segment.path, senders):
        return 0
    return rewrite(segment.path, _noted(segment, senders), sync)


def find_in_segment(path: Path, senders: Collection[str]) -> int:
    """Return how many events of senders are in a segment, which may be written or removed now."""
    try:
        return sum(_clean(piece, senders).events for piece in pieces(path))
    except FileNotFoundError:
        return 0


def erase_lines(path: Path, clean: Clean, sync: Sync) -> int:
    """Clean every line of a file that nobody writes; return how many events that was."""
    return rewrite(path, map(clean, _lines(path)), sync) if find_lines(path, clean) else 0


def find_lines(path: Path, clean: Clean) -> int:
    """Return how many events `clean` would take out of a file; none when there is no file."""
    return sum(clean(line).events for line in _lines(path))


def rewrite(path: Path, cleaned: Iterable[Cleaned], sync: Sync) -> int:
    """Put lines in the place of a file, all of them or none; return how many events are gone."""
    unfinished = path.with_name(path.name + _UNFINISHED)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    descriptor = os.open(unfinished, flags, PRIVATE_FILE)
    gone = 0
    try:
        for line, events in cleaned:
            write_all(descriptor, line)
            gone += events
        sync(descriptor)
    finally:
        os.close(descriptor)
    unfinished.replace(path)
    sync_folder(path.parent, sync)
    return gone


def damaged_lines(senders: Collection[str]) -> Clean:
    """Return what removes damaged lines with senders: nobody can take them apart."""

    def clean(line: bytes) -> Cleaned:
        return Cleaned(line, 0) if senders_in(line).isdisjoint(senders) else Cleaned(b"", 1)

    return clean


def dead_letters(senders: Collection[str]) -> Clean:
    """Return what removes the dead letters of senders."""

    def clean(line: bytes) -> Cleaned:
        return Cleaned(line, 0) if _writers(line).isdisjoint(senders) else Cleaned(b"", 1)

    return clean


def _noted(segment: Segment, senders: Collection[str]) -> Iterator[Cleaned]:
    """Clean the lines of a segment, and let it know what is gone."""
    for piece in pieces(segment.path):
        cleaned = _clean(piece, senders)
        if cleaned.events and piece.offset in segment.damaged:
            segment.damaged[piece.offset] = cleaned.line
        elif cleaned.events and piece.offset not in segment.done:
            partition = decode(piece.text or b"").partition
            segment.waiting[partition].events -= cleaned.events
        yield cleaned


def _clean(piece: Piece, senders: Collection[str]) -> Cleaned:
    if senders_in(piece.raw).isdisjoint(senders):
        return Cleaned(piece.raw, 0)
    try:
        batch = decode(piece.text or b"")
    except ValueError:
        return Cleaned(_blank(piece.raw), 1)
    kept = [entry for entry in batch.entries if entry.event.phone_number not in senders]
    gone = len(batch.entries) - len(kept)
    line = encode(suppress(batch, kept), size=len(piece.raw)) if gone else piece.raw
    return Cleaned(line, gone)


def _blank(line: bytes) -> bytes:
    end = b"\n" if line.endswith(b"\n") else b""
    return b" " * (len(line) - len(end)) + end


def _writers(line: bytes) -> set[str]:
    """Return who may have sent the record of a dead letter, given as `DeadLetter.to_json`."""
    try:
        fields = json.loads(line)
    except ValueError:
        return senders_in(line)
    return senders_of(_original(fields, "key"), _original(fields, "value"))


def _original(fields: dict[str, Any], name: str) -> bytes:
    encoded = fields.get(f"{name}Base64")
    return b64decode(encoded) if encoded else (fields.get(name) or "").encode()


def _lines(path: Path) -> Iterator[bytes]:
    if path.exists():
        with path.open("rb") as file:
            yield from file
