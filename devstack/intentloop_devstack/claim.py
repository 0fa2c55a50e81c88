"""Taking a folder for one server, so that two starts at a time never share data."""

from __future__ import annotations

import fcntl
import itertools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from intentloop_devstack.errors import UnavailableError

_ENDING_SECONDS = 20.0


@dataclass(frozen=True)
class Claim:
    """A folder that is ours alone while `lock` is open in this process or the server's."""

    folder: Path
    lock: int
    """File descriptor. The server inherits it, so that its data stay taken until it has ended."""


@contextmanager
def claim(folder: Path, name: str) -> Iterator[Claim]:
    """Take `folder/name`, or the first free of name-2, name-3, ...

    A folder whose owner has died is waited for a moment: its server is just ending.

    Raises:
        UnavailableError: the folder belongs to another user.
    """
    for number in itertools.count(1):
        place = folder / (name if number == 1 else f"{name}-{number}")
        lock = _open_lock(place)
        try:
            if _take(lock):
                yield Claim(place, lock)
                return
        finally:
            os.close(lock)


def _open_lock(place: Path) -> int:
    try:
        place.mkdir(parents=True, exist_ok=True)
        return os.open(place / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except PermissionError as error:
        raise UnavailableError(
            f"{place} belongs to another user ({error}): remove it or choose another folder"
        ) from error


def _take(lock: int) -> bool:
    deadline = time.monotonic() + _ENDING_SECONDS
    while not _locked(lock):
        if _owner_lives(lock) or time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return True


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner_lives(lock: int) -> bool:
    owner = os.pread(lock, 20, 0).decode()
    # Empty: the owner has taken the lock and is about to write its name.
    return not owner or psutil.pid_exists(int(owner))
