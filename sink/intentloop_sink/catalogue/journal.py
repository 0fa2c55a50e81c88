"""Edits of a catalogue that is kept in files: what was changed, and when in the files' course.

One line for each edit, behind a checksum:

    5f0e6a1c {"at":"2026-03-01T12:00:00Z","cut":{"api-1/00000001.jsonl":8130},"edit":"...",...}

`cut` says how far each file had been read when the edit was made, as far as that has moved since
the line before. So a start reads the files up to there, makes the edit again, and reads on: the
outcome is the same as it was.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from pydantic import TypeAdapter

from intentloop_sink.catalogue.edit import Edit
from intentloop_sink.spool.durable import PRIVATE_FILE, append_to, make_folder
from intentloop_sink.spool.errors import SpoolHeldError

FILE_NAME = "edits.jsonl"
_CRC_DIGITS = 8
_TIME = TypeAdapter(datetime)

log = logging.getLogger(__name__)


class Recorded(NamedTuple):
    """An edit of the journal."""

    at: datetime
    cut: Mapping[str, int]
    """How many bytes of each file came before it."""
    edit: Edit[Any]


class KeptJournal:
    """The journal of a folder, whoever holds it: what is there can be read."""

    def __init__(self, folder: Path, kinds: Mapping[str, type[Edit[Any]]]) -> None:
        self._path = folder / FILE_NAME
        self._kinds = kinds
        self._cut: dict[str, int] = {}

    def recorded(self) -> Iterator[Recorded]:
        """Yield the edits, the oldest first. What is damaged is left out, and logged."""
        try:
            lines = self._path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return
        for number, line in enumerate(lines, 1):
            try:
                yield self._read(line)
            except (ValueError, KeyError) as error:
                # Half a last line is an edit that nobody was told of.
                log.warning("line %d of %s is left out: %s", number, self._path, error)

    def _read(self, line: bytes) -> Recorded:
        kept = _kept(line)
        edit = self._kinds[kept["edit"]].model_validate(kept["fields"])
        self._cut |= kept["cut"]
        return Recorded(_TIME.validate_python(kept["at"]), dict(self._cut), edit)


class Journal(KeptJournal):
    """The same, held for as long as its process lives: it alone adds edits.

    Raises SpoolHeldError when another live process holds it.
    """

    def __init__(self, folder: Path, kinds: Mapping[str, type[Edit[Any]]]) -> None:
        super().__init__(folder, kinds)
        make_folder(folder, os.fsync)
        self._lock = os.open(folder / "edits.lock", os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise SpoolHeldError(
                f"another API keeps its data in {folder}: give each a FALLBACK_DIR of its own, or "
                "set DATABASE_URL so that several can share a database"
            ) from None

    def append(self, edit: Edit[Any], at: datetime, cut: Mapping[str, int]) -> None:
        """Add an edit; it is on disk when this returns. Raises OSError."""
        moved = {name: end for name, end in cut.items() if self._cut.get(name) != end}
        text = json.dumps(
            {
                "at": _TIME.dump_python(at, mode="json"),
                "cut": moved,
                "edit": type(edit).__name__,
                "fields": edit.model_dump(mode="json", by_alias=True),
            }
        ).encode()
        append_to(self._path, b"%08x %s\n" % (crc32(text), text), os.fsync)
        self._cut = dict(cut)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._lock)


class Follower:
    """Reads the edits of one kind from a journal that another process may keep. Not for threads.

    What is damaged is left out; whoever keeps the journal reports it.
    """

    def __init__(self, folder: Path, kind: type[Edit[Any]]) -> None:
        self._path = folder / FILE_NAME
        self._kind = kind
        self._offset = 0

    def new(self) -> Iterator[tuple[datetime, Edit[Any]]]:
        """Yield the edits that came since the last call, with their times. Raises OSError."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                lines = file.readlines()
        except FileNotFoundError:
            return
        for line in lines:
            if not line.endswith(b"\n"):
                # Somebody may be writing it just now.
                return
            self._offset += len(line)
            with suppress(ValueError, KeyError):
                kept = _kept(line)
                if kept["edit"] == self._kind.__name__:
                    edit = self._kind.model_validate(kept["fields"])
                    yield _TIME.validate_python(kept["at"]), edit


def _kept(line: bytes) -> dict[str, Any]:
    """Return what a line holds. Raises ValueError when it is damaged."""
    crc, text = line[:_CRC_DIGITS], line[_CRC_DIGITS + 1 :].removesuffix(b"\n")
    if int(crc, 16) != crc32(text):
        raise ValueError("the checksum is wrong")
    kept: dict[str, Any] = json.loads(text)
    return kept
