"""The quarantine: records too large for the dead-letter topic, whole, each in a file of its own.

<folder>/<topic>-<partition>-<offset>-<digest>        the value, byte for byte
<folder>/<topic>-<partition>-<offset>-<digest>.key    its key, when that is long too
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from pathlib import Path

from intentloop_schemas import DeadLetter
from intentloop_schemas.senders import senders_of
from intentloop_sink.spool.durable import Sync, make_folder, sync_folder, write_file

QUARANTINE = "quarantine"
"""Name of the folder inside FALLBACK_DIR."""
KEPT_BYTES = 1_024
"""How much of a value, a key and an error a truncated letter keeps."""
_TOPIC_CHARACTERS = 150
_KEY = ".key"
_UNFINISHED = ".part"


class QuarantineError(Exception):
    """The whole record is not here, or not as it was; says where to look."""


class Quarantine:
    """The folder of the files. Every method blocks for the disk.

    Args:
        folder: made when it is needed.
        sync: brings what was written through a file descriptor to the disk.
    """

    def __init__(self, folder: Path, *, sync: Sync = os.fsync) -> None:
        self.folder = folder
        self._sync = sync

    def keep(self, letter: DeadLetter) -> DeadLetter:
        """Return a truncated letter; the record is on disk, whole, when it returns.

        The name holds a digest of the bytes: keeping a record again changes nothing, and another
        record never takes its place. Raises OSError.
        """
        key, value = letter.key or b"", letter.value or b""
        name = _name(letter)
        make_folder(self.folder, self._sync)
        if len(key) > KEPT_BYTES:
            self._write(f"{name}{_KEY}", key)
        self._write(name, value)
        cut = {
            "truncated": len(value),
            "quarantine": name,
            "error": letter.error[:KEPT_BYTES],
            "key": letter.key and key[:KEPT_BYTES],
            "value": letter.value and value[:KEPT_BYTES],
        }
        return letter.model_copy(update=cut)

    def restore(self, letter: DeadLetter) -> DeadLetter:
        """Return the letter with the whole record; one that is not truncated comes back as it is.

        Raises QuarantineError when the file is not on this machine, or damaged.
        """
        name = letter.quarantine
        if name is None:
            return letter
        if Path(name).name != name:
            raise QuarantineError(f"{name!r} is no name of a quarantine file")
        whole = letter.model_copy(
            update={
                "key": letter.key and self._read_key(name, letter.key),
                "value": letter.value and self._read(name),
            }
        )
        if _digest(whole) != name.rsplit("-", 1)[-1]:
            raise QuarantineError(f"{self.folder / name} is damaged: its digest is another")
        return whole

    def find(self, senders: Collection[str]) -> list[str]:
        """Return the names of the records that senders sent. Raises OSError."""
        wanted = frozenset(senders)
        return [name for name in self._names() if self._senders(name) & wanted]

    def remove(self, name: str) -> None:
        """Remove a record; what is left of its letter stays cut. Raises OSError."""
        for file in (name, f"{name}{_KEY}"):
            (self.folder / file).unlink(missing_ok=True)
        sync_folder(self.folder, self._sync)

    def _names(self) -> list[str]:
        paths = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
        return [path.name for path in paths if path.suffix != _KEY]

    def _senders(self, name: str) -> set[str]:
        key = self.folder / f"{name}{_KEY}"
        return senders_of(
            key.read_bytes() if key.exists() else None, (self.folder / name).read_bytes()
        )

    def _write(self, name: str, data: bytes) -> None:
        """Write a file that is either whole or not there."""
        unfinished = self.folder / f"{name}{_UNFINISHED}"
        write_file(unfinished, data, self._sync)
        unfinished.replace(self.folder / name)
        sync_folder(self.folder, self._sync)

    def _read_key(self, name: str, kept: bytes) -> bytes:
        path = self.folder / f"{name}{_KEY}"
        return path.read_bytes() if path.exists() else kept

    def _read(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            raise QuarantineError(
                f"{name} is not in {self.folder} on this machine: look in FALLBACK_DIR of the "
                "worker that rejected the record"
            ) from None
        except OSError as error:
            raise QuarantineError(f"cannot read {self.folder / name}: {error}") from error


def _name(letter: DeadLetter) -> str:
    topic = letter.topic[:_TOPIC_CHARACTERS]
    return f"{topic}-{letter.partition}-{letter.offset}-{_digest(letter)}"


def _digest(letter: DeadLetter) -> str:
    digest = hashlib.sha256(letter.value or b"")
    digest.update(letter.key or b"")
    return digest.hexdigest()[:16]
