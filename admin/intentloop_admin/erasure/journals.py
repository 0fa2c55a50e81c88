"""Senders taken out of the journals that loggers keep while they cannot deliver."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from glob import glob
from pathlib import Path
from typing import NamedTuple

from intentloop_producer.journal import LINES
from intentloop_producer.journal_folder import orphans
from intentloop_schemas.senders import senders_in
from intentloop_sink.spool.cleaning import Clean, Cleaned, erase_lines, find_lines

_SEGMENTS = "*/*/*.jsonl"
_DAMAGED = "*/*.damaged"


class JournalErasure(NamedTuple):
    """What the journals held of the senders, and how much of that is gone."""

    found: int
    erased: int


def erase_journals(root: Path, senders: Collection[str], *, dry_run: bool) -> JournalErasure:
    """Take all that senders wrote out of the journals of bots that do not run. Blocks.

    A running bot keeps its own, and delivers it as soon as it can. `root` holds a folder for each
    destination. Raises OSError.
    """
    clean = _without(senders)
    found = sum(find_lines(path, clean) for path in _files(root, _SEGMENTS, _DAMAGED))
    if dry_run or not found:
        return JournalErasure(found, 0)
    erased = sum(erase_lines(path, clean, os.fsync) for path in _files(root, _DAMAGED))
    for destination in sorted(root.iterdir()):
        for orphan in orphans(destination):
            erased += sum(erase_lines(path, clean, os.fsync) for path in orphan.segments())
    return JournalErasure(found, erased)


def _files(root: Path, *patterns: str) -> Iterator[Path]:
    for pattern in patterns:
        # Path.glob raises where a bot has just removed a folder.
        yield from (root / name for name in sorted(glob(pattern, root_dir=root)))  # noqa: PTH207


def _without(senders: Collection[str]) -> Clean:
    def clean(line: bytes) -> Cleaned:
        pieces = [piece.raw for piece in LINES.pieces(line)]
        kept = [raw for raw in pieces if senders_in(raw).isdisjoint(senders)]
        return Cleaned(b"".join(kept), len(pieces) - len(kept))

    return clean
