"""File operations that are on disk when they return."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

Sync = Callable[[int], None]
"""Brings what was written through a file descriptor to the disk: os.fsync, or a test's own."""

PRIVATE_FILE = 0o600
"""Conversations are nobody else's business."""
_PRIVATE_FOLDER = 0o700


def make_folder(folder: Path, sync: Sync) -> None:
    """Create a folder and those above it, as far as they are missing."""
    if folder.is_dir():
        return
    make_folder(folder.parent, sync)
    folder.mkdir(_PRIVATE_FOLDER, exist_ok=True)
    sync_folder(folder.parent, sync)


def sync_folder(folder: Path, sync: Sync) -> None:
    """Bring a folder's list of files to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def append_to(path: Path, data: bytes, sync: Sync) -> None:
    """Append whole lines to a file, behind a line of their own if a crash left half a one."""
    with path.open("a+b", buffering=0) as file:
        os.fchmod(file.fileno(), PRIVATE_FILE)
        if _ends_in_half_a_line(file.fileno()):
            data = b"\n" + data
        write_all(file.fileno(), data)
        sync(file.fileno())
    sync_folder(path.parent, sync)


def write_file(path: Path, data: bytes, sync: Sync) -> None:
    """Write a file, whatever it held before."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE)
    try:
        write_all(descriptor, data)
        sync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(path.parent, sync)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it, in as many calls as the system needs."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _ends_in_half_a_line(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
