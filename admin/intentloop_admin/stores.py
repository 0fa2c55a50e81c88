"""Questions and edits off the event loop, with what goes wrong as problems."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import TypeVar

from intentloop_admin.problems import ProblemError, try_later
from intentloop_sink import DatabaseUnavailableError
from intentloop_sink.catalogue import Catalogue, CatalogueStore, Edit, SlowQueryError

_THREADS = 8

T = TypeVar("T")


class Stores:
    """Asks the store that can answer."""

    def __init__(self, store: CatalogueStore) -> None:
        self._store = store
        self._threads = ThreadPoolExecutor(_THREADS, "catalogue")

    async def read(self, question: Callable[[Catalogue], T]) -> T:
        """Return the answer to a question. Raises ProblemError when there is none now."""
        return await self._run(partial(self._ask, question))

    async def apply(self, edit: Edit[T]) -> T:
        """Make a change. Raises ProblemError when that cannot be done now."""
        return await self._run(partial(self._store.apply, edit))

    def close(self) -> None:
        """Let go of connections and files."""
        self._threads.shutdown()
        self._store.close()

    def _ask(self, question: Callable[[Catalogue], T]) -> T:
        with self._store.reading() as catalogue:
            return question(catalogue)

    async def _run(self, call: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except DatabaseUnavailableError as error:
            raise try_later(f"{error}; try again.") from error
        except SlowQueryError as error:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY, f"The answer takes too long: {error}."
            ) from error
