"""Changes to what must not be kept, and waiting until every writer knows of them."""

from __future__ import annotations

from contextlib import closing

import psycopg2
from sqlalchemy import Connection, text

from intentloop_sink.connection import DatabaseUnavailableError, connect
from intentloop_sink.failures import describe
from intentloop_sink.stalled import ending_stalled_writers

_STALLED_SECONDS = 3.0

# The time makes it one that was never there, even in a database that was restored from a backup.
_RENEW = text("""
UPDATE suppression
SET version = greatest(version + 1, (extract(epoch FROM clock_timestamp()) * 1e6)::bigint)
""")

# Whoever stores holds a lock on this table from its first statement to its end.
_OUTLAST = "BEGIN; LOCK TABLE ingest_offset IN EXCLUSIVE MODE; COMMIT"


def renew(connection: Connection) -> None:
    """Make writers read the list again. Other changes wait until this one is committed."""
    connection.execute(_RENEW)


def outlast_writers(url: str) -> None:
    """Return when every writer's transaction that was open has ended. Blocks.

    Whatever they may have stored without knowing of a committed change is there then, and those
    that come later know of it. One that stands still for 3 s is ended.

    Raises DatabaseUnavailableError when the database does not answer.
    """
    try:
        with closing(connect(url, "privacy")) as connection:
            pid = connection.info.backend_pid
            with (
                ending_stalled_writers(url, "privacy", pid, _STALLED_SECONDS),
                connection.cursor() as cursor,
            ):
                cursor.execute(_OUTLAST)
    except psycopg2.OperationalError as error:
        raise DatabaseUnavailableError(
            f"the database does not answer: {describe(error)}"
        ) from error
