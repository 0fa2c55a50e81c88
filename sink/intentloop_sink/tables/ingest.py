"""Where every partition stands and what became of its records; what loggers say of themselves."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    Table,
    Text,
    func,
)

from intentloop_sink.tables.columns import KEY_TEXT, TIME, metadata, updated_at

conversation_batch = Table(
    "conversation_batch",
    metadata,
    Column("topic_id", KEY_TEXT, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("first_position", BigInteger, primary_key=True),
    Column("next_position", BigInteger, nullable=False),
    Column("topic", Text, nullable=False),
    Column("batches", Integer, nullable=False),
    Column("stored", Integer, nullable=False),
    Column("duplicates", Integer, nullable=False),
    Column("rejected", Integer, nullable=False),
    Column("flagged", Integer, nullable=False),
    Column("closed_by", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("opened_at", TIME, nullable=False),
    Column("committed_at", TIME, nullable=False),
    Column("writer", Text, nullable=False),
    # Of the rejected, those without a dead letter: they must not be kept anywhere.
    Column("suppressed", Integer, nullable=False, server_default="0"),
    CheckConstraint("first_position < next_position", name="conversation_batch_range_check"),
)

Index("conversation_batch_newest", conversation_batch.c.committed_at)

# Where each partition stands; who holds the row may write what comes next.
ingest_offset = Table(
    "ingest_offset",
    metadata,
    Column("topic_id", KEY_TEXT, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("topic", Text, nullable=False),
    Column("next_position", BigInteger, nullable=False),
    Column("highest_timestamp", BigInteger, nullable=False),
    updated_at(),
    Column("writer", Text, nullable=False),
    postgresql_with={"fillfactor": "70"},
)

# Positions that the log no longer had when their turn came.
ingest_loss = Table(
    "ingest_loss",
    metadata,
    Column("topic_id", KEY_TEXT, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("first_position", BigInteger, primary_key=True),
    Column("next_position", BigInteger, nullable=False),
    Column("topic", Text, nullable=False),
    Column("recorded_at", TIME, nullable=False, server_default=func.now()),
    Column("writer", Text, nullable=False),
    CheckConstraint("first_position < next_position", name="ingest_loss_range_check"),
)

# What loggers counted since their start: the only ones who can measure log().
logger_report = Table(
    "logger_report",
    metadata,
    Column("logger_id", KEY_TEXT, primary_key=True),
    Column("reported_at", TIME, primary_key=True),
    Column("started_at", TIME, nullable=False),
    Column("accepted", BigInteger, nullable=False),
    Column("recovered", BigInteger, nullable=False),
    Column("delivered", BigInteger, nullable=False),
    Column("invalid", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("dropped", BigInteger, nullable=False),
    Column("log_p50_us", Double),
    Column("log_p99_us", Double),
    Column("version", Text, nullable=False),
    Column("transport", Text, nullable=False),
)
Index("logger_report_newest", logger_report.c.reported_at)
