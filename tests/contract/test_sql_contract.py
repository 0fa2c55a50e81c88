"""The statements that others run on the tables, to the letter."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import psycopg2
import pytest
from psycopg2.extras import RealDictCursor

from intentloop_sink import PostgresSink, Stored
from support import tables
from support.batches import NOON, entry, tens

DATASET = """SELECT * FROM "Dataset" WHERE id = 'ds-auto-training';"""
NEWEST = """
SELECT id, input, intent, tags, "createdAt" FROM "Example" WHERE "datasetId" = 'ds-auto-training' ORDER BY "createdAt" DESC LIMIT 20;
"""  # noqa: E501 - as it is written in the contract
CATEGORIES = """
SELECT CASE WHEN tags @> ARRAY['needs_review'] THEN 'Low Confidence' ELSE 'High Confidence' END as category, COUNT(*) as count
  FROM "Example" WHERE "datasetId" = 'ds-auto-training' GROUP BY category;
"""  # noqa: E501 - as it is written in the contract

COLUMNS = {
    "Dataset": "id, name, type, size, createdAt, updatedAt",
    "Example": "id, datasetId, type, input, intent, tags, createdAt",
    "intent_window_stats": (
        "dataset_id, intent, channel, model_version, window_start, window_seconds, n, flagged_n, "
        "low_confidence_n, fallback_n, late_n, confidence_sum_micros, confidence_sumsq_micros, "
        "confidence_min_micros, confidence_max_micros, confidence_histogram, first_event_at, "
        "last_event_at, updated_at"
    ),
    "conversation_batch": (
        "topic, topic_id, partition, first_position, next_position, batches, stored, duplicates, "
        "rejected, flagged, closed_by, source, opened_at, committed_at, writer"
    ),
    "ingest_offset": "topic, topic_id, partition, next_position",
    "examples": "id, dataset_id, type, input, intent, tags, created_at",
}
COLUMNS["intent_hourly_stats"] = COLUMNS["intent_window_stats"]

EVENTS = 50
LOW = 8


@pytest.fixture
def url(database_url: str) -> str:
    entries = [entry(i, confidence=0.4 if i < LOW else 0.95) for i in range(EVENTS)]
    others = [entry(i, dataset_id="ds-other") for i in range(EVENTS, EVENTS + 5)]
    with closing(PostgresSink(database_url, window_seconds=30, writer="w")) as sink:
        assert isinstance(sink.store(sink.prepare(tens(entries + others))), Stored)
    return database_url


def rows(url: str, sql: str) -> list[dict[str, Any]]:
    with (
        closing(psycopg2.connect(url)) as connection,
        connection.cursor(cursor_factory=RealDictCursor) as cursor,
    ):
        cursor.execute(sql)
        return [dict(row) for row in cursor]


def test_the_dataset_and_its_size(url: str) -> None:
    (dataset,) = rows(url, DATASET)
    created, updated = dataset.pop("createdAt"), dataset.pop("updatedAt")
    assert dataset == {
        "id": "ds-auto-training",
        "name": "Auto training",
        "type": "nlu",
        "size": EVENTS,
    }
    assert created <= updated <= datetime.now(UTC)


def test_the_newest_examples(url: str) -> None:
    found = rows(url, NEWEST)
    assert [row["createdAt"] for row in found] == [
        datetime.fromtimestamp((NOON + i) / 1000, UTC) for i in range(EVENTS - 1, EVENTS - 21, -1)
    ]
    assert found[0] == {
        "id": entry(EVENTS - 1).example_id,
        "input": "where is my order?",
        "intent": "track_order",
        "tags": ["confidence:95", "source:+919876543210", f"timestamp:{NOON + EVENTS - 1}"],
        "createdAt": datetime.fromtimestamp((NOON + EVENTS - 1) / 1000, UTC),
    }


def test_the_categories(url: str) -> None:
    assert {row["category"]: row["count"] for row in rows(url, CATEGORIES)} == {
        "Low Confidence": LOW,
        "High Confidence": EVENTS - LOW,
    }


def test_every_promised_column_is_there(url: str) -> None:
    sql = "SELECT column_name FROM information_schema.columns WHERE table_name = %s"
    for table, columns in COLUMNS.items():
        found = {row[0] for row in tables.query(url, sql, table)}
        assert set(columns.split(", ")) - found == set(), table


def test_key_of_the_statistics(url: str) -> None:
    sql = """
        SELECT array_agg(a.attname::text ORDER BY a.attname) FROM pg_index i
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
        WHERE i.indisprimary AND i.indrelid = %s::regclass
    """
    key = ["channel", "dataset_id", "intent", "model_version", "window_seconds", "window_start"]
    for table in ("intent_window_stats", "intent_hourly_stats"):
        assert tables.query(url, sql, table) == [(key,)]


@pytest.mark.parametrize(
    ("sql", "index"),
    [
        (NEWEST, "Example_newest"),
        (
            """
            SELECT id FROM "Example" WHERE "datasetId" = 'ds-auto-training'
              AND tags @> ARRAY['needs_review'] ORDER BY "createdAt" LIMIT 20
            """,
            "Example_review_queue",
        ),
    ],
)
def test_pages_come_out_of_an_index(url: str, sql: str, index: str) -> None:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off; SET enable_sort = off")
        cursor.execute(f"EXPLAIN {sql}")
        assert index in str(cursor.fetchall())


def test_the_size_costs_no_look_at_the_examples(url: str) -> None:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {DATASET}")
        assert "Example" not in str(cursor.fetchall())
