"""What the store must not take again, and leaving it out.

Erased senders are known by a keyed hash and the time of their erasure; datasets by the horizon
before which retention has removed everything. Both change seldom. A version, read in the first
statement of each transaction, tells whether the list in memory is still the one in the database.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

from intentloop_schemas import Batch, Entry
from intentloop_sink.cuts import suppress

_REMEMBERED_SENDERS = 65_536

_VERSION = "SELECT version FROM suppression"
_KEY = "SELECT key FROM suppression"
_ERASED = """
SELECT sender_hash, floor(extract(epoch FROM erased_at) * 1000)::bigint FROM erased_sender
"""
_HORIZONS = """
SELECT dataset_id, ceil(extract(epoch FROM horizon) * 1000)::bigint FROM retention
WHERE horizon IS NOT NULL
"""

_EVENT_TIME = attrgetter("event.timestamp")
_LOG_TIME = attrgetter("record.timestamp")

log = logging.getLogger(__name__)


def sender_hash(key: str, sender: str) -> str:
    """Return what is kept of an erased sender: HMAC-SHA-256 of what was stored, in hex."""
    return hmac.digest(key.encode(), sender.encode(errors="surrogatepass"), "sha256").hex()


@dataclass(frozen=True)
class SuppressionList:
    """What must not be kept, as it was at one version. Times are epoch ms."""

    version: int = 0
    key: str = ""
    erased: Mapping[str, int] = field(default_factory=dict)
    """When senders were erased, by their hash. What is newer is a new customer's."""
    horizons: Mapping[str, int] = field(default_factory=dict)
    """By dataset: what is older is past its retention."""
    _senders: dict[str, int] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def latest(self) -> int:
        """Return the time after which nothing is suppressed."""
        return max((*self.erased.values(), *self.horizons.values()), default=-1)

    def has_erased(self, sender: str, at: int) -> bool:
        """Tell whether a sender was erased at a time or later."""
        if not self.erased:
            return False
        erased_at = self._senders.get(sender)
        if erased_at is None:
            if len(self._senders) >= _REMEMBERED_SENDERS:
                self._senders.clear()
            erased_at = self.erased.get(sender_hash(self.key, sender), -1)
            self._senders[sender] = erased_at
        return at <= erased_at

    def has(self, entry: Entry) -> bool:
        """Tell whether an entry must not be kept."""
        event = entry.event
        if event.timestamp < self.horizons.get(event.dataset_id, 0):
            return True
        # A sender's clock may run ahead: what was in the log before the erasure is as old as that.
        return self.has_erased(event.phone_number, min(event.timestamp, entry.record.timestamp))


class Suppression:
    """Leaves out of batches what must not be kept. For one thread at a time."""

    def __init__(self) -> None:
        self.list = SuppressionList()

    def learn(self, cursor: Cursor) -> None:
        """Read the list if it has changed."""
        cursor.execute(_VERSION)
        self.refresh(cursor, next(iter(cursor), (0,))[0])

    def refresh(self, cursor: Cursor, version: int) -> None:
        """Read the list again unless it is the one of a version."""
        if version != self.list.version:
            self.list = _read(cursor, version)

    def apply(self, batches: Sequence[Batch]) -> Sequence[Batch]:
        """Return the batches with what must not be kept counted as rejected, as `suppressed`.

        A batch with nothing of that kind comes back as it is.
        """
        if self.list.latest < 0:
            return batches
        kept = [self._apply(batch) for batch in batches]
        count = sum(map(_suppressed, kept)) - sum(map(_suppressed, batches))
        if count:
            log.info("%d events are of erased senders, or past their retention: not stored", count)
        return kept

    def _apply(self, batch: Batch) -> Batch:
        # Live traffic is newer than anything on the list.
        if _oldest(batch.entries) > self.list.latest:
            return batch
        entries = [entry for entry in batch.entries if not self.list.has(entry)]
        return suppress(batch, entries) if len(entries) < len(batch.entries) else batch


def _oldest(entries: Sequence[Entry]) -> int:
    """Return the earliest of all times, epoch ms."""
    return min((*map(_EVENT_TIME, entries), *map(_LOG_TIME, entries)), default=2**62)


def _suppressed(batch: Batch) -> int:
    return batch.suppressed


def _read(cursor: Cursor, version: int) -> SuppressionList:
    cursor.execute(_KEY)
    keys = cursor.fetchall()
    cursor.execute(_ERASED)
    erased = dict(cursor.fetchall())
    cursor.execute(_HORIZONS)
    horizons = dict(cursor.fetchall())
    return SuppressionList(version, keys[0][0] if keys else "", erased, horizons)
