"""The keys as a running API knows them: looked up in memory, kept up to date, usage noted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from intentloop_admin.security.key_store import KeyStore
from intentloop_admin.security.keys import BOOTSTRAP_ID, Key, digest, id_of, matches
from intentloop_sink import DatabaseUnavailableError
from intentloop_sink.catalogue import StoredKey

STALE_SECONDS = 2.0
"""A key that was revoked elsewhere works this much longer at the most."""
_UNKNOWN_SECONDS = 0.1
"""How often keys that are not known make us look for new ones; who presents one waits for it."""
_NOTE_SECONDS = 30.0
"""How often last use is written."""
_NOBODY = digest("")

log = structlog.get_logger(__name__)


class KeysUnknownError(Exception):
    """Keys were never read: the database was away since the start."""


class Keyring:
    """Tells whose key it is.

    While the store of keys is away those that were known go on working.

    Args:
        store: where they are kept.
        bootstrap: the key of INTENTLOOP_ADMIN_KEY.
        clock: monotonic time in seconds.
    """

    def __init__(
        self,
        store: KeyStore,
        bootstrap: str | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._bootstrap = digest(bootstrap) if bootstrap else _NOBODY
        self._clock = clock
        self._keys: dict[str, StoredKey] | None = None
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()
        self._used: dict[str, datetime] = {}

    async def find(self, text: str) -> Key | None:
        """Return who has a key, None when nobody has, or has no more.

        Raises KeysUnknownError when that cannot be said.
        """
        if matches(text, self._bootstrap) and text:
            return Key.bootstrap()
        key_id = id_of(text)
        if key_id is None:
            return None
        stored = await self._look_up(key_id)
        is_right = matches(text, stored.digest if stored else _NOBODY)
        return self._admit(stored) if is_right else None

    def handle(self, key: Key) -> str:
        """Return what a session keeps of a key; of the bootstrap key another when it changes."""
        return f"{BOOTSTRAP_ID}-{self._bootstrap[:16]}" if key.id == BOOTSTRAP_ID else key.id

    async def resume(self, handle: str) -> Key | None:
        """Return the key of a session, None when it has ended since.

        Raises KeysUnknownError when that cannot be said.
        """
        if self._bootstrap != _NOBODY and handle == self.handle(Key.bootstrap()):
            return Key.bootstrap()
        return self._admit(await self._look_up(handle))

    def _admit(self, stored: StoredKey | None) -> Key | None:
        now = datetime.now(UTC)
        if stored is None or not _is_valid(stored, now):
            return None
        self._used[stored.id] = now
        return Key.of(stored)

    async def note_usage(self) -> None:
        """Write now and then when keys were used last, until cancelled."""
        while True:
            await asyncio.sleep(_NOTE_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Write when keys were used last."""
        used, self._used = self._used, {}
        if not used:
            return
        try:
            await asyncio.to_thread(self._store.mark_used, used)
        except (DatabaseUnavailableError, OSError) as error:
            self._used = {**used, **self._used}
            log.warning("usage_not_noted", error=str(error))

    async def _look_up(self, key_id: str) -> StoredKey | None:
        asked_at = self._clock()
        if self._keys is not None and key_id in self._keys:
            await self._refresh(asked_at - STALE_SECONDS)
        else:
            await self._refresh(asked_at)
        if self._keys is None:
            raise KeysUnknownError
        return self._keys.get(key_id)

    async def _refresh(self, wanted_at: float) -> None:
        """Read the keys, unless they were read after a moment."""
        if self._read_at > wanted_at:
            return
        async with self._reading:
            if self._read_at > wanted_at:
                return
            await asyncio.sleep(self._read_at + _UNKNOWN_SECONDS - self._clock())
            self._read_at = self._clock()
            try:
                keys = await asyncio.to_thread(self._store.all)
            except (DatabaseUnavailableError, OSError) as error:
                log.warning("keys_not_read", error=str(error))
                return
            self._keys = {key.id: key for key in keys}


def _is_valid(key: StoredKey, now: datetime) -> bool:
    return key.revoked_at is None and (key.expires_at is None or now < key.expires_at)
