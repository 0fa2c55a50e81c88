"""The thread in which the store works, one call at a time, in the order of the calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

from intentloop_sink import Outcome, PostgresSink, Prepared, Stored

if TYPE_CHECKING:
    from intentloop_sink.file_sink import FileSink

T = TypeVar("T")

Sink: TypeAlias = "PostgresSink | FileSink"
"""The store: a database, or files where there is none."""


class Attempt(NamedTuple):
    """What became of a group, and how long the store took over it."""

    outcome: Outcome
    seconds: float


class StoreThread:
    """Runs what blocks, off the event loop; what it returns is awaited there."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._executor = ThreadPoolExecutor(1, "store")
        self._failed = False

    def run(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Make a call behind all others."""
        return asyncio.get_running_loop().run_in_executor(self._executor, call)

    def store(self, prepared: Prepared) -> asyncio.Future[Attempt]:
        """Store a group."""
        return self.run(partial(self._store, prepared))

    def store_next(self, prepared: Prepared) -> asyncio.Future[Attempt | None]:
        """Store a group unless the one before it failed; None then, and nothing is done."""
        return self.run(lambda: None if self._failed else self._store(prepared))

    def _store(self, prepared: Prepared) -> Attempt:
        self._failed = True
        began = time.monotonic()
        outcome = self._sink.store(prepared)
        self._failed = not isinstance(outcome, Stored)
        return Attempt(outcome, time.monotonic() - began)
