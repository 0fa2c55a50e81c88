"""The little that starting a Postgres server asks of it as a client."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psycopg2

from intentloop_devstack.ports import LOOPBACK

USER = "postgres"
DATABASE = "intentloop"
_CONNECT_SECONDS = 2


def url(port: int, database: str = DATABASE) -> str:
    """Return the URL of a database on a local server."""
    return f"postgresql://{USER}@{LOOPBACK}:{port}/{database}"


@dataclass(frozen=True)
class Readiness:
    """Serves when it is our data that answers: another start may have taken the port."""

    port: int
    data: Path | None
    """The server's data folder, None when any will do."""

    def __call__(self) -> bool:
        """Tell whether it serves; waits two seconds at most."""
        try:
            found = _ask(self.port, "SHOW data_directory")
        except psycopg2.OperationalError:
            return False
        return self.data is None or found == str(self.data)


def ensure_database(port: int) -> None:
    """Create the database `intentloop` unless it exists."""
    if _ask(port, "SELECT count(*) FROM pg_database WHERE datname = 'intentloop'") == 0:
        _ask(port, "CREATE DATABASE intentloop")


def _ask(port: int, statement: str) -> object:
    connection = psycopg2.connect(url(port, "postgres"), connect_timeout=_CONNECT_SECONDS)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None
    finally:
        connection.close()
