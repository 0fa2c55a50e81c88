"""Questions and edits off the event loop, to the store that can answer them now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from http import HTTPStatus
from typing import Protocol, TypeVar

import structlog

from intentloop_admin.problems import ProblemError, try_later
from intentloop_sink import DatabaseUnavailableError
from intentloop_sink.catalogue import (
    Catalogue,
    CatalogueStore,
    Edit,
    FileReader,
    Overlay,
    PostgresCatalogue,
    SlowQueryError,
)
from intentloop_sink.spool import Spool

_THREADS = 8
_PATIENCE_SECONDS = 6.0
"""After so long without an answer the database counts as away, whatever it is doing."""
_PROBE_SECONDS = 0.5

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Stores(Protocol):
    """Where routes read and write."""

    @property
    def is_partial(self) -> bool:
        """Whether answers lack what only the database knows, because it is away."""
        ...

    async def read(self, question: Callable[[Catalogue], T]) -> T:
        """Return the answer to a question. Raises ProblemError when there is none now."""
        ...

    async def apply(self, edit: Edit[T]) -> T:
        """Make a change. Raises ProblemError when that cannot be done now."""
        ...

    async def watch(self) -> None:
        """Find out when the database is back, until cancelled."""
        ...

    def close(self) -> None:
        """Let go of connections and files."""
        ...


class FileStores:
    """JSON mode: everything is in files."""

    is_partial = False

    def __init__(self, store: CatalogueStore) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, "files")

    async def read(self, question: Callable[[Catalogue], T]) -> T:
        """Return the answer to a question."""
        return await _in(self._thread, partial(_ask, self._store.reading, question))

    async def apply(self, edit: Edit[T]) -> T:
        """Make a change. Raises ProblemError when the disk does not take it."""
        try:
            return await _in(self._thread, partial(self._store.apply, edit))
        except DatabaseUnavailableError as error:
            raise try_later(f"{error}; make room on the disk.") from error

    async def watch(self) -> None:
        """There is nothing to watch."""

    def close(self) -> None:
        """Let go of files."""
        self._thread.shutdown()
        self._store.close()


class DatabaseStores:
    """Postgres, and while it is away what waits in this process's files.

    Args:
        database: the catalogue in Postgres.
        files: the catalogue of what waits.
        spool: tells whether anything waits.
    """

    def __init__(self, database: PostgresCatalogue, files: FileReader, spool: Spool) -> None:
        self._database = database
        self._files = files
        self._spool = spool
        self._is_away = False
        self._database_threads = ThreadPoolExecutor(_THREADS, "database")
        # Of its own, so that a database that does not answer holds nobody up here.
        self._file_thread = ThreadPoolExecutor(1, "files")

    @property
    def is_partial(self) -> bool:
        """Whether answers lack what only the database knows, because it is away."""
        return self._is_away

    async def read(self, question: Callable[[Catalogue], T]) -> T:
        """Return the answer to a question, from files alone while the database is away.

        Raises ProblemError when it takes too long.
        """
        if not self._is_away:
            try:
                return await asyncio.wait_for(self._ask_database(question), _PATIENCE_SECONDS)
            except (DatabaseUnavailableError, TimeoutError) as error:
                self._lose(error)
            except SlowQueryError as error:
                raise too_slow(error) from error
        return await _in(self._file_thread, partial(_ask, self._files.reading, question))

    async def apply(self, edit: Edit[T]) -> T:
        """Make a change. Raises ProblemError while the database is away."""
        if self._is_away:
            raise try_later("The database is away; nothing can be changed until it is back.")
        try:
            return await _in(self._database_threads, partial(self._database.apply, edit))
        except DatabaseUnavailableError as error:
            self._lose(error)
            raise try_later(f"{error}; nothing was changed. Try again.") from error
        except SlowQueryError as error:
            raise too_slow(error) from error

    async def watch(self) -> None:
        """Find out when the database is back, until cancelled."""
        while True:
            await asyncio.sleep(_PROBE_SECONDS)
            if self._is_away and await asyncio.to_thread(self._database.is_there):
                self._is_away = False
                log.info("database_back")

    def close(self) -> None:
        """Let go of connections and files."""
        self._database_threads.shutdown(wait=not self._is_away)
        self._file_thread.shutdown()
        self._database.close()
        self._files.close()

    async def _ask_database(self, question: Callable[[Catalogue], T]) -> T:
        return await _in(self._database_threads, partial(self._ask_both, question))

    def _ask_both(self, question: Callable[[Catalogue], T]) -> T:
        with self._database.reading() as stored:
            if self._spool.is_empty:
                return question(stored)
            with self._files.reading() as waiting:
                return question(Overlay(stored, waiting))

    def _lose(self, error: Exception) -> None:
        if not self._is_away:
            log.warning("database_away", error=str(error) or "no answer in time")
        self._is_away = True


def _ask(
    reading: Callable[[], AbstractContextManager[Catalogue]], question: Callable[[Catalogue], T]
) -> T:
    with reading() as catalogue:
        return question(catalogue)


async def _in(threads: ThreadPoolExecutor, call: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(threads, call)


def too_slow(error: SlowQueryError) -> ProblemError:
    """Return the problem that an answer takes too long."""
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"The answer takes too long: {error}.")
