"""The catalogue in JSON files: what stands in for Postgres where there is none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from intentloop_sink.catalogue.catalogue import Catalogue
from intentloop_sink.catalogue.datasets import CreateDataset, DeleteDataset, RenameDataset
from intentloop_sink.catalogue.edit import Edit
from intentloop_sink.catalogue.erasures import RememberErased
from intentloop_sink.catalogue.examples import (
    BulkChange,
    ChangeExample,
    ChangeListed,
    DeleteExamples,
)
from intentloop_sink.catalogue.index import FileIndex
from intentloop_sink.catalogue.intents import DescribeIntent, Relabel
from intentloop_sink.catalogue.journal import Follower, Journal, KeptJournal
from intentloop_sink.catalogue.reports import AddReport
from intentloop_sink.connection import DatabaseUnavailableError

KINDS: dict[str, type[Edit[Any]]] = {
    kind.__name__: kind
    for kind in (
        AddReport,
        BulkChange,
        ChangeExample,
        ChangeListed,
        CreateDataset,
        DeleteDataset,
        DeleteExamples,
        DescribeIntent,
        Relabel,
        RememberErased,
        RenameDataset,
    )
}
"""The edits that a journal may hold. A name that once stood here must stay."""

R = TypeVar("R")


class FileReader:
    """Questions over the files of some writers; safe to call from several threads.

    Args:
        folder: the folder that holds those of all writers.
        window_seconds: length of the tumbling windows.
        writers: pattern for the names of those that are meant.
    """

    def __init__(self, folder: Path, *, window_seconds: int, writers: str = "*") -> None:
        self._turn = threading.RLock()
        self._index = FileIndex(folder, window_seconds=window_seconds, writers=writers)

    @contextmanager
    def turn(self) -> Iterator[FileIndex]:
        """Yield the index, up to date, and let nobody else in."""
        with self._turn:
            self._index.load()
            yield self._index

    @contextmanager
    def reading(self) -> Iterator[Catalogue]:
        """Yield the catalogue as it is; others wait meanwhile."""
        with self.turn() as index, index.engine.begin() as connection:
            yield Catalogue(connection)

    def close(self) -> None:
        """Throw the index away."""
        with self._turn:
            self._index.close()


class FileFollower(FileReader):
    """Questions over the files of all writers, where another process keeps the journal.

    Knows whom that one has erased, and nothing else of its edits.
    """

    def __init__(self, folder: Path, *, window_seconds: int) -> None:
        super().__init__(folder, window_seconds=window_seconds)
        self._erasures = Follower(folder, RememberErased)

    @contextmanager
    def turn(self) -> Iterator[FileIndex]:
        """Yield the index, up to date, and let nobody else in."""
        with super().turn() as index:
            for at, erasure in self._erasures.new():
                with index.engine.begin() as connection:
                    erasure.run(connection, at)
            yield index


class FileCatalogue(FileReader):
    """Questions and edits over the files of all writers.

    One process at a time keeps the journal of a folder. Opening it reads all files once.

    Raises SpoolHeldError when another process does, and OSError.
    """

    def __init__(self, folder: Path, *, window_seconds: int) -> None:
        super().__init__(folder, window_seconds=window_seconds)
        self._journal = Journal(folder, KINDS)
        _make_again(self._journal, self._index)

    def apply(self, edit: Edit[R]) -> R:
        """Make a change; it is on disk when this returns.

        Raises DatabaseUnavailableError when the disk does not take it; then nothing has changed.
        """
        at = _now()
        with self.turn() as index, index.engine.begin() as connection:
            outcome = edit.run(connection, at)
            try:
                self._journal.append(edit, at, index.loaded)
            except OSError as error:
                raise DatabaseUnavailableError(f"the disk does not take it: {error}") from error
        return outcome

    def close(self) -> None:
        """Let go of the journal and throw the index away."""
        super().close()
        self._journal.close()


class FileState(FileReader):
    """Questions over the files of all writers, with the edits that there are by now.

    For who looks once while another process keeps the journal. Opening it reads all files once.
    """

    def __init__(self, folder: Path, *, window_seconds: int) -> None:
        super().__init__(folder, window_seconds=window_seconds)
        _make_again(KeptJournal(folder, KINDS), self._index)


def _make_again(journal: KeptJournal, index: FileIndex) -> None:
    for recorded in journal.recorded():
        index.load(recorded.cut)
        with index.engine.begin() as connection:
            recorded.edit.run(connection, recorded.at)


def _now() -> datetime:
    """Return the time as exactly as the index keeps it."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
