"""Where everything is kept: in Postgres, or in JSON files where there is none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, Protocol

from intentloop_admin.erasure import ErasureReport, Whereabouts, erase, erase_from_files
from intentloop_admin.ingest import Sink
from intentloop_admin.ingest.replay import adopt_orphans, replay
from intentloop_admin.security.key_store import FileKeys, KeyStore, TableKeys
from intentloop_admin.stores import DatabaseStores, FileStores, Stores
from intentloop_schemas.failpoint import Failpoint
from intentloop_sink import PostgresSink
from intentloop_sink.catalogue import FileCatalogue, FileReader, PostgresCatalogue
from intentloop_sink.export import ExampleSource, PagedSource, SnapshotSource
from intentloop_sink.file_sink import FileSink
from intentloop_sink.spool import Spool

Job = Callable[[ThreadPoolExecutor], Coroutine[Any, Any, None]]
"""Works until cancelled; gets the thread that stores, to take turns with it."""


class Erase(Protocol):
    """Erases senders, given as they are stored."""

    def __call__(self, senders: Collection[str], *, dry_run: bool) -> ErasureReport:
        """Erase them, or only look."""
        ...


@dataclass(frozen=True)
class Storage:
    """What differs between the two. Functions block."""

    mode: Literal["postgres", "files"]
    sink: Sink
    stores: Stores
    keys: KeyStore
    fallback: Spool | None
    """What takes conversations while the sink cannot."""
    check: Callable[[], None]
    """Raises SchemaError or DatabaseUnavailableError unless all is as it should be."""
    close: Callable[[], None]
    erase: Erase
    """Erases senders everywhere. Raises DatabaseUnavailableError and OSError."""
    snapshot: Callable[[], AbstractContextManager[ExampleSource]]
    """Yields examples as they are now, to read them all. Raises DatabaseUnavailableError."""
    jobs: Sequence[Job] = ()


def in_postgres(
    where: Whereabouts, spool: Spool, *, writer: str, window_seconds: int, failpoint: Failpoint
) -> Storage:
    """Return Postgres, with the spool for what it cannot take now. Connects to nothing."""
    url = where.database_url
    sink = PostgresSink(url, window_seconds=window_seconds, writer=writer, failpoint=failpoint)
    catalogue = PostgresCatalogue(url)
    folder = spool.folder.parent
    waiting = FileReader(folder, window_seconds=window_seconds, writers=spool.folder.name)
    stores = DatabaseStores(catalogue, waiting, spool)

    def close() -> None:
        stores.close()
        sink.close()

    return Storage(
        mode="postgres",
        sink=sink,
        stores=stores,
        keys=TableKeys(catalogue),
        fallback=spool,
        check=sink.check_schema,
        close=close,
        erase=partial(erase, where),
        snapshot=partial(_snapshot, catalogue),
        jobs=(
            partial(replay, spool, sink),
            lambda _: adopt_orphans(folder, sink),
            lambda _: stores.watch(),
        ),
    )


def in_files(spool: Spool, *, window_seconds: int) -> Storage:
    """Return JSON files in the spool's folder and those beside it. Reads all of them once.

    Raises SpoolHeldError when another API keeps its data there.
    """
    folder = spool.folder.parent
    catalogue = FileCatalogue(folder, window_seconds=window_seconds)
    stores = FileStores(catalogue)
    return Storage(
        mode="files",
        sink=FileSink(spool, catalogue, window_seconds=window_seconds),
        stores=stores,
        keys=FileKeys(folder),
        fallback=None,
        check=lambda: None,
        close=stores.close,
        erase=partial(erase_from_files, spool, catalogue),
        snapshot=lambda: nullcontext(PagedSource(catalogue.reading, datetime.now(UTC))),
    )


@contextmanager
def _snapshot(catalogue: PostgresCatalogue) -> Iterator[ExampleSource]:
    with catalogue.snapshot() as (snapshot, now):
        yield SnapshotSource(snapshot, now)
