"""Connections to Postgres: how they are named, how fast they notice a dead peer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

if TYPE_CHECKING:
    import sqlalchemy

WRITER_PREFIX = "intentloop-"
"""Begins the application_name of every writer. Only sessions named so are ever terminated."""

_NOTICE_A_DEAD_PEER: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


class DatabaseUnavailableError(Exception):
    """The database does not answer."""


def connect(url: str, writer: str) -> Connection:
    """Open a connection in autocommit mode, so that statements say themselves where they commit.

    Blocks up to 5 s for each address. Raises psycopg2.OperationalError when nobody answers.
    """
    connection = _open(url, f"{WRITER_PREFIX}{writer}")
    connection.autocommit = True
    return connection


@contextmanager
def session(url: str, purpose: str, *, autocommit: bool = False) -> Iterator[sqlalchemy.Connection]:
    """Yield a connection for queries and definitions, in one transaction that ends with it.

    With `autocommit` each statement stands alone and sees what is committed by then.

    Raises DatabaseUnavailableError when the database does not answer.
    """
    import sqlalchemy

    engine = sqlalchemy.create_engine(
        "postgresql+psycopg2://",
        # No writer's name: a long migration is nobody's stalled writer.
        creator=partial(_open, url, f"intentloop {purpose}"),
        poolclass=sqlalchemy.NullPool,
        isolation_level="AUTOCOMMIT" if autocommit else "READ COMMITTED",
    )
    try:
        with engine.begin() as connection:
            yield connection
    except sqlalchemy.exc.OperationalError as error:
        raise _unavailable(error.orig) from error


@contextmanager
def question(url: str) -> Iterator[Cursor]:
    """Yield a cursor for a question or two; quicker than `session`, which imports SQLAlchemy.

    Raises psycopg2.Error, but DatabaseUnavailableError when the database does not answer.
    """
    try:
        with closing(_open(url, "intentloop reader")) as connection, connection.cursor() as cursor:
            yield cursor
    except psycopg2.OperationalError as error:
        raise _unavailable(error) from error


def pool(url: str, purpose: str, *, size: int, statement_timeout: float) -> sqlalchemy.Engine:
    """Return up to `size` connections to share, opened when they are needed.

    A statement may take `statement_timeout` seconds. Its parameters appear in no error.
    """
    import sqlalchemy

    return sqlalchemy.create_engine(
        "postgresql+psycopg2://",
        creator=partial(_open, url, f"intentloop {purpose}", statement_timeout),
        isolation_level="READ COMMITTED",
        pool_size=size,
        max_overflow=0,
        pool_timeout=2,
        pool_pre_ping=True,
        hide_parameters=True,
    )


def _unavailable(error: object) -> DatabaseUnavailableError:
    reason = " ".join(str(error).split())
    return DatabaseUnavailableError(f"the database does not answer: {reason}")


def _open(url: str, application_name: str, statement_timeout: float = 0) -> Connection:
    connection: Connection = psycopg2.connect(
        url, application_name=application_name, **_NOTICE_A_DEAD_PEER
    )
    if statement_timeout:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = %s", (round(statement_timeout * 1000),))
            # Compiling a question takes longer than answering it.
            cursor.execute("SET jit = off")
        connection.autocommit = False
    return connection


def is_usable(connection: Connection) -> bool:
    """Tell whether a connection is open and outside a transaction, as far as the client knows."""
    return not connection.closed and connection.info.transaction_status == TRANSACTION_STATUS_IDLE
