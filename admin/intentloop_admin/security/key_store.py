"""Where keys are kept: in Postgres, or without it in a file."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from intentloop_sink.catalogue import AddKey, MarkUsed, PostgresCatalogue, RevokeKey, StoredKey
from intentloop_sink.spool.durable import PRIVATE_FILE, make_folder, sync_folder, write_file

FILE_NAME = "keys.json"


class KeyStore(Protocol):
    """Keeps keys. Everything blocks, and raises DatabaseUnavailableError or OSError."""

    def all(self) -> list[StoredKey]:
        """Return all keys, the revoked ones too."""
        ...

    def add(self, key: StoredKey) -> None:
        """Keep a new key."""
        ...

    def revoke(self, key_id: str) -> bool:
        """End a key; tell whether there is one of that id."""
        ...

    def mark_used(self, times: Mapping[str, datetime]) -> None:
        """Note when keys were used last."""
        ...


@dataclass(frozen=True)
class TableKeys:
    """Keys in Postgres."""

    catalogue: PostgresCatalogue

    def all(self) -> list[StoredKey]:
        """Return all keys, the revoked ones too."""
        with self.catalogue.reading() as catalogue:
            return catalogue.keys.all()

    def add(self, key: StoredKey) -> None:
        """Keep a new key."""
        self.catalogue.apply(AddKey(key=key))

    def revoke(self, key_id: str) -> bool:
        """End a key; tell whether there is one of that id."""
        return self.catalogue.apply(RevokeKey(id=key_id))

    def mark_used(self, times: Mapping[str, datetime]) -> None:
        """Note when keys were used last."""
        self.catalogue.apply(MarkUsed(times=times))


class FileKeys:
    """Keys in a file, readable by its owner alone. Processes take turns to change it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME

    def all(self) -> list[StoredKey]:
        """Return all keys, the revoked ones too."""
        try:
            kept = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return []
        return [StoredKey.model_validate(key) for key in kept["keys"]]

    def add(self, key: StoredKey) -> None:
        """Keep a new key."""
        with self._turn():
            self._write([*self.all(), key])

    def revoke(self, key_id: str) -> bool:
        """End a key; tell whether there is one of that id."""
        with self._turn():
            keys = self.all()
            now = datetime.now(UTC)
            self._write(
                [
                    key.model_copy(update={"revoked_at": key.revoked_at or now})
                    if key.id == key_id
                    else key
                    for key in keys
                ]
            )
        return any(key.id == key_id for key in keys)

    def mark_used(self, times: Mapping[str, datetime]) -> None:
        """Note when keys were used last."""
        with self._turn():
            self._write(
                [
                    key.model_copy(update={"last_used_at": times.get(key.id, key.last_used_at)})
                    for key in self.all()
                ]
            )

    @contextmanager
    def _turn(self) -> Iterator[None]:
        make_folder(self._path.parent, os.fsync)
        lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _write(self, keys: list[StoredKey]) -> None:
        """Put a new file in the place of the old one, so that a reader finds one of them whole."""
        text = json.dumps({"keys": [key.model_dump(mode="json", by_alias=True) for key in keys]})
        unfinished = self._path.with_suffix(".part")
        write_file(unfinished, text.encode(), os.fsync)
        unfinished.replace(self._path)
        sync_folder(self._path.parent, os.fsync)
