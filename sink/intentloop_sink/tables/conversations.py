"""Examples, datasets, intents, and the statistics of what was predicted."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    Numeric,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from intentloop_sink.tables.columns import JSON_VALUE, KEY_TEXT, TEXTS, TIME, metadata, updated_at

# No foreign key on "datasetId" and no GIN index on tags: each nearly halves the speed of COPY.
example = Table(
    "Example",
    metadata,
    Column("id", KEY_TEXT, primary_key=True),
    Column("datasetId", KEY_TEXT, nullable=False),
    Column("type", Text, nullable=False, server_default="nlu"),
    Column("input", Text, nullable=False),
    Column("intent", Text, nullable=False),
    Column("tags", TEXTS, nullable=False),
    Column("createdAt", TIME, nullable=False),
    Column("eventId", Text, nullable=False),
    Column("predictedIntent", Text, nullable=False),
    Column("confidence", Double, nullable=False),
    Column("reviewReasons", TEXTS, nullable=False),
    Column("sender", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("language", Text),
    Column("modelVersion", Text, nullable=False),
    Column("sessionId", Text),
    Column("messageId", Text),
    Column("currentStep", Text),
    Column("alternatives", JSON_VALUE),
    CheckConstraint("confidence BETWEEN 0 AND 1", name="Example_confidence_check"),
)
# Ascending, because rows come in order of time and the right edge of an index is its cheap end.
Index("Example_newest", example.c.datasetId, example.c.createdAt)
Index(
    "Example_review_queue",
    example.c.datasetId,
    example.c.createdAt,
    postgresql_where=text("tags @> ARRAY['needs_review'::text]"),
)

dataset = Table(
    "dataset",
    metadata,
    Column("id", KEY_TEXT, primary_key=True),
    Column("name", Text, nullable=False),
    Column("type", Text, nullable=False, server_default="nlu"),
    Column("created_at", TIME, nullable=False, server_default=func.now()),
    updated_at(),
)

# How many examples each dataset has, in as many parts as there are partitions. A part is changed
# only by who holds the partition's row of ingest_offset, so no two workers ever wait here.
dataset_counter = Table(
    "dataset_counter",
    metadata,
    Column("dataset_id", KEY_TEXT, primary_key=True),
    Column("topic_id", KEY_TEXT, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("examples", BigInteger, nullable=False),
    updated_at(),
    postgresql_with={"fillfactor": "70"},
)


def _statistics(name: str) -> Table:
    """Sums of micros and counts, so that the order of events never matters."""
    return Table(
        name,
        metadata,
        Column("dataset_id", KEY_TEXT, primary_key=True),
        Column("window_start", TIME, primary_key=True),
        Column("intent", KEY_TEXT, primary_key=True),
        Column("channel", KEY_TEXT, primary_key=True),
        Column("model_version", KEY_TEXT, primary_key=True),
        Column("window_seconds", Integer, primary_key=True),
        Column("n", BigInteger, nullable=False),
        Column("flagged_n", BigInteger, nullable=False),
        Column("low_confidence_n", BigInteger, nullable=False),
        Column("fallback_n", BigInteger, nullable=False),
        Column("late_n", BigInteger, nullable=False),
        Column("confidence_sum_micros", BigInteger, nullable=False),
        Column("confidence_sumsq_micros", Numeric, nullable=False),
        Column("confidence_min_micros", Integer, nullable=False),
        Column("confidence_max_micros", Integer, nullable=False),
        Column("confidence_histogram", ARRAY(BigInteger), nullable=False),
        Column("first_event_at", TIME, nullable=False),
        Column("last_event_at", TIME, nullable=False),
        updated_at(),
        postgresql_with={"fillfactor": "70"},
    )


intent_window_stats = _statistics("intent_window_stats")
intent_hourly_stats = _statistics("intent_hourly_stats")

# What people say about an intent. How often it occurs is in the statistics.
intent = Table(
    "intent",
    metadata,
    Column("dataset_id", KEY_TEXT, primary_key=True),
    Column("name", KEY_TEXT, primary_key=True),
    Column("description", Text, nullable=False),
    updated_at(),
)
