"""The catalogue in Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from intentloop_sink.catalogue.catalogue import Catalogue
from intentloop_sink.catalogue.edit import Edit
from intentloop_sink.connection import DatabaseUnavailableError, pool

READ_SECONDS = 4.0
"""How long a question may take."""
EDIT_SECONDS = 600.0
"""How long a change may take: a merge may touch every example of a dataset."""
_CANCELLED = "57014"
_NOW = text("SELECT clock_timestamp()")
_PATIENCE = text("SET LOCAL idle_in_transaction_session_timeout = '5min'")

R = TypeVar("R")


class SlowQueryError(Exception):
    """The database needs too long for an answer."""


class PostgresCatalogue:
    """Questions and edits over shared connections; safe to call from several threads."""

    def __init__(self, url: str, *, connections: int = 8) -> None:
        self._readers = pool(url, "api", size=connections, statement_timeout=READ_SECONDS)
        self._editors = pool(url, "api edit", size=2, statement_timeout=EDIT_SECONDS)
        self._exporters = pool(url, "export", size=2, statement_timeout=EDIT_SECONDS)

    @contextmanager
    def reading(self) -> Iterator[Catalogue]:
        """Yield the catalogue in a transaction of its own.

        Raises DatabaseUnavailableError, and SlowQueryError after 4 s.
        """
        with _explained(), self._readers.begin() as connection:
            yield Catalogue(connection)

    def apply(self, edit: Edit[R]) -> R:
        """Make a change in one transaction. Raises as `reading`."""
        with _explained(), self._editors.begin() as connection:
            return edit.run(connection, datetime.now(UTC))

    def is_there(self) -> bool:
        """Tell whether the database answers."""
        try:
            with self.reading() as catalogue:
                catalogue.connection.execute(text("SELECT 1"))
        except DatabaseUnavailableError:
            return False
        return True

    @contextmanager
    def snapshot(self) -> Iterator[tuple[Catalogue, datetime]]:
        """Yield the catalogue as it is now, whatever happens to it meanwhile, and the time.

        A reader may take its time, though 5 min without a question end it. Raises
        DatabaseUnavailableError, also when there are two already.
        """
        with _explained(), self._exporters.connect() as connection:
            connection.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            with connection.begin():
                connection.execute(_PATIENCE)
                now: datetime = connection.execute(_NOW).scalar_one()
                yield Catalogue(connection), now

    def close(self) -> None:
        """Close the connections."""
        self._readers.dispose()
        self._editors.dispose()
        self._exporters.dispose()


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) == _CANCELLED:
            raise SlowQueryError("narrow the range with since and until") from error
        if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated:
            raise DatabaseUnavailableError("the database does not answer") from error
        raise
    except PoolTimeoutError as error:
        raise DatabaseUnavailableError("all connections to the database are busy") from error
