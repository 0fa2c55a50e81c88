"""What a thread needs to know of its process: when it forks, and when it ends."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """Has to start afresh in a forked child, which has none of the parent's threads."""

    def restart(self) -> None:
        """Forget the parent's threads, locks and connections."""
        ...


_forkables: WeakSet[Forkable] = WeakSet()
_unshared: set[int] = set()


def restart_after_fork(forkable: Forkable) -> None:
    """Have `forkable` restarted in each child that is forked while it exists."""
    _forkables.add(forkable)


def open_unshared(path: Path, flags: int, mode: int) -> int:
    """Open a file that forked children do not keep open: a lock would outlive its process."""
    descriptor = os.open(path, flags, mode)
    _unshared.add(descriptor)
    return descriptor


def close_descriptor(descriptor: int) -> None:
    """Close what `open_unshared` has opened."""
    _unshared.discard(descriptor)
    os.close(descriptor)


def _start_child() -> None:
    for descriptor in _unshared:
        with suppress(OSError):
            os.close(descriptor)
    _unshared.clear()
    for forkable in list(_forkables):
        forkable.restart()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_child)


def call_at_exit(function: Callable[[], None]) -> None:
    """Call `function` when the process ends in an orderly way."""
    atexit.register(function)
    # A child of multiprocessing leaves without atexit, but runs these.
    if util := sys.modules.get("multiprocessing.util"):
        util.Finalize(None, function, exitpriority=0)
