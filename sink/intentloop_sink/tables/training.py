"""Training jobs."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Double, Index, Integer, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from intentloop_sink.tables.columns import KEY_TEXT, TIME, metadata

# Jobs that train models; the models themselves are files. One job of a dataset runs at a time.
training_job = Table(
    "training_job",
    metadata,
    Column("id", KEY_TEXT, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("dataset_id", KEY_TEXT, nullable=False),
    Column("status", Text, nullable=False),
    Column("progress", Double, nullable=False),
    Column("seconds_left", Double),
    Column("created_at", TIME, nullable=False),
    Column("started_at", TIME),
    Column("finished_at", TIME),
    Column("snapshot", JSONB(none_as_null=True)),
    Column("result", JSONB(none_as_null=True)),
    Column("reason", Text),
    Column("model_version", Text),
    Column("promoted", Boolean),
    Column("retry_of", KEY_TEXT),
    Column("cancel_requested", Boolean, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("runner", Text),
    Column("heartbeat_at", TIME),
    Column("log", JSONB, nullable=False),
)
Index("training_job_newest", training_job.c.dataset_id, training_job.c.created_at)
Index(
    "training_job_one_running",
    training_job.c.dataset_id,
    unique=True,
    postgresql_where=text("status = 'RUNNING'::text"),
)
