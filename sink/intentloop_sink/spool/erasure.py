"""Erasing senders from the spools of a folder."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from intentloop_sink.spool.errors import SpoolHeldError
from intentloop_sink.spool.lock import LOCK_NAME
from intentloop_sink.spool.spool import Spool, find_in_spool


class SpoolErasure(NamedTuple):
    """What one writer's folder held of the senders."""

    writer: str
    events: int
    is_held: bool = False
    """A live process has the folder, so that nothing was erased: it refuses them at the store."""


def erase_spools(
    folder: Path, senders: Collection[str], *, dry_run: bool = False
) -> Iterator[SpoolErasure]:
    """Take all that senders wrote out of every writer's folder, and yield what was there. Blocks.

    A dry run changes nothing. Raises SpoolError and OSError when a folder cannot be used.
    """
    for lock in sorted(folder.glob(f"*/{LOCK_NAME}")):
        path = lock.parent
        if dry_run:
            yield SpoolErasure(path.name, find_in_spool(path, senders))
            continue
        try:
            with Spool(folder, path.name) as spool:
                erasure = SpoolErasure(path.name, spool.erase(senders))
        except SpoolHeldError:
            erasure = SpoolErasure(path.name, find_in_spool(path, senders), is_held=True)
        yield erasure
