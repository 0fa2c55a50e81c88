"""The limit to compare with: COPY of the finished rows into the same tables, one connection."""

from __future__ import annotations

import time
from pathlib import Path

import psycopg2

TABLES = ('"Example"', "intent_window_stats", "intent_hourly_stats")
_COPY_BYTES = 1 << 20


def dump(url: str, folder: Path) -> None:
    """Write the rows of all tables into files, in the order in which they lie on disk."""
    folder.mkdir(parents=True, exist_ok=True)
    connection = psycopg2.connect(url)
    with connection.cursor() as cursor:
        for table in TABLES:
            with _file(folder, table).open("wb") as rows:
                cursor.copy_expert(f"COPY {table} TO STDOUT", rows, _COPY_BYTES)
    connection.close()


def seconds(url: str, folder: Path) -> float:
    """Return how long COPY takes to load the dumped rows into a database, commit included."""
    connection = psycopg2.connect(url)
    started = time.perf_counter()
    with connection, connection.cursor() as cursor:
        for table in TABLES:
            with _file(folder, table).open("rb") as rows:
                cursor.copy_expert(f"COPY {table} FROM STDIN", rows, _COPY_BYTES)
    elapsed = time.perf_counter() - started
    connection.close()
    return elapsed


def _file(folder: Path, table: str) -> Path:
    return folder / f"{table.strip(chr(34))}.copy"
