"""Erasing senders where there is no Postgres: the files are the store."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from datetime import UTC, datetime

from intentloop_admin.erasure.report import ErasureReport, Place
from intentloop_sink.catalogue import FileCatalogue
from intentloop_sink.catalogue.erasures import RememberErased
from intentloop_sink.spool import Spool, erase_spools, find_in_spool
from intentloop_sink.suppression import sender_hash

_KEY_BYTES = 32
_STATISTICS = (
    "Statistics are counted from what is in the files: the sender is not in them any more."
)
_MOVING = "Files that go into a database later do not tell it of erasures: erase there again."


def erase_from_files(
    spool: Spool, catalogue: FileCatalogue, senders: Collection[str], *, dry_run: bool
) -> ErasureReport:
    """Take senders out of the files of all writers, and take nothing of theirs again. Blocks.

    `spool` is the one that this process holds. Raises OSError, and DatabaseUnavailableError when
    the disk does not take what has to be remembered; then nothing is erased.
    """
    folder, own = spool.folder.parent, spool.folder.name
    with catalogue.turn() as index:
        if dry_run:
            found = find_in_spool(spool.folder, senders)
            others = [s for s in erase_spools(folder, senders, dry_run=True) if s.writer != own]
            events = found + sum(other.events for other in others)
            return ErasureReport((Place("files", events),), ())
        _remember(catalogue, senders)
        found = spool.erase(senders)
        others = [other for other in erase_spools(folder, senders) if other.writer != own]
        index.forget(senders)
    events = found + sum(other.events for other in others)
    held = sum(other.events for other in others if other.is_held)
    note = "held by other processes: stop them, and erase again" if held else ""
    place = Place("files", events, events - held, note, failed=bool(held))
    return ErasureReport((place,), (_STATISTICS, _MOVING), datetime.now(UTC))


def _remember(catalogue: FileCatalogue, senders: Collection[str]) -> None:
    with catalogue.turn() as index:
        key = index.suppressed().key or secrets.token_hex(_KEY_BYTES)
    hashes = sorted(sender_hash(key, sender) for sender in senders)
    catalogue.apply(RememberErased(key=key, hashes=hashes))
