"""Who holds a writer's folder. The lock ends with its process, however that ends."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

from intentloop_sink.spool.durable import PRIVATE_FILE, Sync, make_folder
from intentloop_sink.spool.errors import SpoolHeldError

LOCK_NAME = "spool.lock"
"""Whatever folder has one is a spool's."""

log = logging.getLogger(__name__)


class FolderLock:
    """Holds a folder, which is made if it is missing, until released or the process ends.

    Raises SpoolHeldError when somebody else holds it, OSError when it cannot be made.
    """

    def __init__(self, folder: Path, sync: Sync) -> None:
        self._folder = folder
        self._path = folder / LOCK_NAME
        self._is_released = False
        while True:
            make_folder(folder, sync)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
            _lock(self._descriptor, folder)
            if self._is_current():
                return
            # Whoever held it before has just removed the folder.
            os.close(self._descriptor)

    def release(self) -> None:
        """Let go of the folder, and remove it if nothing but the lock is in it."""
        if self._is_released:
            return
        self._is_released = True
        try:
            if [path.name for path in self._folder.iterdir()] == [LOCK_NAME]:
                self._path.unlink()
                self._folder.rmdir()
        except OSError as error:
            log.warning("cannot remove %s: %s", self._folder, error)
        finally:
            os.close(self._descriptor)

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._path.stat())
        except FileNotFoundError:
            return False


def is_held(folder: Path) -> bool:
    """Tell whether a live process holds a folder."""
    try:
        descriptor = os.open(folder / LOCK_NAME, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise SpoolHeldError(
            f"{folder} is held by another live process: give each worker an "
            "INTENTLOOP_INSTANCE_ID of its own, or wait until `intentloop replay` has ended"
        ) from None
