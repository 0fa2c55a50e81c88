"""What the tables do hold, in the form of the recomputation."""

from __future__ import annotations

from typing import Any

import psycopg2

_STATISTICS = (
    "n, flagged_n, low_confidence_n, fallback_n, late_n, confidence_sum_micros, "
    "confidence_sumsq_micros, confidence_min_micros, confidence_max_micros, confidence_histogram"
)
_KEY = "dataset_id, intent, channel, model_version, window_start, window_seconds"


def query(url: str, sql: str, *args: Any) -> list[tuple[Any, ...]]:
    """Run one statement in a connection of its own."""
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql, args or None)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def administer(url: str, statement: str) -> None:
    """Run a statement that no transaction may hold."""
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        connection.cursor().execute(statement)
    finally:
        connection.close()


def examples(url: str) -> dict[str, tuple[Any, ...]]:
    """Return the rows of "Example" by id, tags sorted."""
    rows = query(
        url, 'SELECT id, "datasetId", type, input, intent, tags, "createdAt" FROM "Example"'
    )
    return {row[0]: (*row[1:5], sorted(row[5]), row[6]) for row in rows}


def statistics(url: str, table: str) -> dict[tuple[Any, ...], list[Any]]:
    """Return the integers of a statistics table by key."""
    rows = query(url, f"SELECT {_KEY}, {_STATISTICS} FROM {table}")
    return {row[:6]: [*(int(value) for value in row[6:15]), list(row[15])] for row in rows}


def accounted(url: str) -> int:
    """Return stored + duplicates + rejected over all partitions."""
    sql = "SELECT coalesce(sum(stored + duplicates + rejected), 0) FROM conversation_batch"
    return int(query(url, sql)[0][0])


def untiled(url: str) -> list[tuple[Any, ...]]:
    """Return every place where a partition's ranges leave a gap or overlap."""
    return query(
        url,
        """
        SELECT * FROM (
          SELECT topic_id, partition, first_position,
                 lag(next_position) OVER (PARTITION BY topic_id, partition
                                          ORDER BY first_position) AS expected
          FROM conversation_batch) AS ranges
        WHERE expected <> first_position
        """,
    )
