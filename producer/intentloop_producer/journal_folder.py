"""The folders of the journal: each process has its own, and takes over those of dead ones.

    var/journal/<topic>/<process id>-<random>/lock and segments

A process holds its folder by a lock that ends with it, however it ends. Its forked children do
not inherit the lock.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

from intentloop_producer.process import close_descriptor, open_unshared

Sync = Callable[[int], None]
"""Brings what was written through a file descriptor to the disk: os.fsync, or a test's own."""

PRIVATE_FILE = 0o600
"""Conversations are nobody else's business."""
_PRIVATE_FOLDER = 0o700
_LOCK = "lock"
_SEGMENTS = "*.jsonl"
_UNFINISHED = "."
"""Begins the name of a folder that is not locked yet, which would look like a dead process's."""


class JournalFolder:
    """A folder that this process holds."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def make(cls, root: Path, sync: Sync) -> Self:
        """Make a folder for this process in `root`. Raises OSError.

        Raises ImportError on a system without file locks.
        """
        lock = _lock()
        _make_root(root)
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        unfinished = root / f"{_UNFINISHED}{name}"
        unfinished.mkdir(_PRIVATE_FOLDER)
        descriptor = _locked(unfinished / _LOCK, lock, os.O_CREAT)
        if descriptor is None:
            raise FileNotFoundError(f"{unfinished} was removed while it was being made")
        try:
            path = unfinished.rename(root / name)
            sync_folder(root, sync)
        except OSError:
            close_descriptor(descriptor)
            raise
        return cls(path, descriptor)

    def segments(self) -> list[Path]:
        """Return the segments in it, oldest first."""
        return sorted(self.path.glob(_SEGMENTS))

    def remove_empty_segments(self) -> None:
        """Remove what a bot leaves that was killed while nothing waited. Raises OSError."""
        for path in self.segments():
            if not path.stat().st_size:
                path.unlink()

    def release(self) -> None:
        """Let go of it, and remove it if nothing but the lock is in it. Never raises."""
        with suppress(OSError):
            if [path.name for path in self.path.iterdir()] == [_LOCK]:
                (self.path / _LOCK).unlink()
                self.path.rmdir()
        close_descriptor(self._descriptor)


def orphans(root: Path) -> Iterator[JournalFolder]:
    """Yield each folder of a dead process, held until the caller asks for the next. Raises OSError.

    Folders without a segment are removed.
    """
    paths = sorted(root.iterdir()) if root.is_dir() else []
    for path in paths:
        if path.name.startswith(_UNFINISHED):
            continue
        if (descriptor := _locked(path / _LOCK, _lock())) is None:
            continue
        folder = JournalFolder(path, descriptor)
        try:
            folder.remove_empty_segments()
            if folder.segments():
                yield folder
        finally:
            folder.release()


def has_orphans(root: Path) -> bool:
    """Tell whether a dead process has left something. Never raises."""
    with suppress(OSError, ImportError):
        return any(True for _ in orphans(root))
    return False


def sync_folder(folder: Path, sync: Sync) -> None:
    """Bring a folder's list of files to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def _make_root(root: Path) -> None:
    if not root.is_dir():
        _make_root(root.parent)
        root.mkdir(_PRIVATE_FOLDER, exist_ok=True)


def _lock() -> Callable[[int], None]:
    """Return what locks a file, or raises BlockingIOError when somebody else has locked it."""
    # Not every system has this; a bot on one without goes on without a journal.
    import fcntl

    return lambda descriptor: fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _locked(path: Path, lock: Callable[[int], None], flags: int = 0) -> int | None:
    """Return the descriptor of a lock, None when another process holds it or there is none."""
    try:
        descriptor = open_unshared(path, os.O_RDWR | flags, PRIVATE_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        lock(descriptor)
    except BlockingIOError:
        close_descriptor(descriptor)
        return None
    except OSError:
        close_descriptor(descriptor)
        raise
    return descriptor
