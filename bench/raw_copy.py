"""The limit to compare with: COPY of the finished rows into the same tables, one connection."""

from __future__ import annotations

import io
import time
from urllib.parse import urlsplit

import psycopg2
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT, connection

from intentloop_sink import migrate

TABLES = ['"Example"', "intent_window_stats", "intent_hourly_stats"]
_COPY_BUFFER = 1 << 20


def new_database(server_url: str, name: str) -> str:
    """Create an empty database and return its URL."""
    _execute(server_url, f"DROP DATABASE IF EXISTS {name}")
    _execute(server_url, f"CREATE DATABASE {name}")
    return urlsplit(server_url)._replace(path=f"/{name}").geturl()


def drop_database(server_url: str, url: str) -> None:
    """Drop a database that `new_database` made."""
    _execute(server_url, f"DROP DATABASE {urlsplit(url).path.lstrip('/')} WITH (FORCE)")


def seconds(server_url: str, url: str) -> float:
    """Return how long COPY takes to load all rows of one database into another, commit included."""
    target = new_database(server_url, "bench_raw")
    migrate(target)
    dumps = {table: _dump(url, table) for table in TABLES}
    with psycopg2.connect(target) as session:
        started = time.perf_counter()
        for table, rows in dumps.items():
            with session.cursor() as cursor:
                cursor.copy_expert(f"COPY {table} FROM STDIN", rows, _COPY_BUFFER)
        session.commit()
        elapsed = time.perf_counter() - started
    session.close()
    drop_database(server_url, target)
    return elapsed


def _dump(url: str, table: str) -> io.BytesIO:
    """Return a table's rows in the order in which they lie on disk."""
    rows = io.BytesIO()
    session = psycopg2.connect(url)
    with session.cursor() as cursor:
        cursor.copy_expert(f"COPY {table} TO STDOUT", rows, _COPY_BUFFER)
    session.close()
    rows.seek(0)
    return rows


def _execute(url: str, statement: str) -> None:
    session: connection = psycopg2.connect(url)
    session.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
    with session.cursor() as cursor:
        cursor.execute(statement)
    session.close()
