"""Tables for examples, statistics and progress."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0001"
down_revision = None

_KEY_TEXT = sa.Text(collation="C")
_TIME = sa.DateTime(timezone=True)
_UPDATED_IN_PLACE: dict[str, Any] = {"postgresql_with": {"fillfactor": "70"}}


def upgrade() -> None:
    """Create the tables."""
    _create_example()
    _create_dataset()
    _create_statistics("intent_window_stats")
    _create_statistics("intent_hourly_stats")
    _create_conversation_batch()
    _create_ingest()


def downgrade() -> None:
    """Drop the tables and all they hold."""
    for table in (
        "ingest_loss",
        "ingest_offset",
        "conversation_batch",
        "intent_hourly_stats",
        "intent_window_stats",
        "dataset_counter",
        "dataset",
        "Example",
    ):
        op.drop_table(table)


def _required(name: str, kind: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, **options)


def _key(name: str, kind: Any = _KEY_TEXT) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=True)


def _since(name: str) -> sa.Column[Any]:
    return _required(name, _TIME, server_default=sa.func.now())


def _create_example() -> None:
    op.create_table(
        "Example",
        _key("id"),
        _required("datasetId", _KEY_TEXT),
        _required("type", sa.Text, server_default="nlu"),
        _required("input", sa.Text),
        _required("intent", sa.Text),
        _required("tags", ARRAY(sa.Text)),
        _required("createdAt", _TIME),
        _required("eventId", sa.Text),
        _required("predictedIntent", sa.Text),
        _required("confidence", sa.Double),
        _required("reviewReasons", ARRAY(sa.Text)),
        _required("sender", sa.Text),
        _required("channel", sa.Text),
        sa.Column("language", sa.Text),
        _required("modelVersion", sa.Text),
        sa.Column("sessionId", sa.Text),
        sa.Column("messageId", sa.Text),
        sa.Column("currentStep", sa.Text),
        sa.Column("alternatives", JSONB),
        sa.CheckConstraint("confidence BETWEEN 0 AND 1", name="Example_confidence_check"),
    )
    op.create_index("Example_newest", "Example", ["datasetId", "createdAt"])
    op.create_index(
        "Example_review_queue",
        "Example",
        ["datasetId", "createdAt"],
        postgresql_where=sa.text("tags @> ARRAY['needs_review'::text]"),
    )


def _create_dataset() -> None:
    op.create_table(
        "dataset",
        _key("id"),
        _required("name", sa.Text),
        _required("type", sa.Text, server_default="nlu"),
        _since("created_at"),
        _since("updated_at"),
    )
    op.create_table(
        "dataset_counter",
        _key("dataset_id"),
        _key("topic_id"),
        _key("partition", sa.Integer),
        _required("examples", sa.BigInteger),
        _since("updated_at"),
        **_UPDATED_IN_PLACE,
    )


def _create_statistics(name: str) -> None:
    op.create_table(
        name,
        _key("dataset_id"),
        _key("window_start", _TIME),
        _key("intent"),
        _key("channel"),
        _key("model_version"),
        _key("window_seconds", sa.Integer),
        _required("n", sa.BigInteger),
        _required("flagged_n", sa.BigInteger),
        _required("low_confidence_n", sa.BigInteger),
        _required("fallback_n", sa.BigInteger),
        _required("late_n", sa.BigInteger),
        _required("confidence_sum_micros", sa.BigInteger),
        _required("confidence_sumsq_micros", sa.Numeric),
        _required("confidence_min_micros", sa.Integer),
        _required("confidence_max_micros", sa.Integer),
        _required("confidence_histogram", ARRAY(sa.BigInteger)),
        _required("first_event_at", _TIME),
        _required("last_event_at", _TIME),
        _since("updated_at"),
        **_UPDATED_IN_PLACE,
    )


def _range_columns() -> list[sa.Column[Any]]:
    return [
        _key("topic_id"),
        _key("partition", sa.Integer),
        _key("first_position", sa.BigInteger),
        _required("next_position", sa.BigInteger),
        _required("topic", sa.Text),
    ]


def _create_conversation_batch() -> None:
    op.create_table(
        "conversation_batch",
        *_range_columns(),
        _required("batches", sa.Integer),
        _required("stored", sa.Integer),
        _required("duplicates", sa.Integer),
        _required("rejected", sa.Integer),
        _required("flagged", sa.Integer),
        _required("closed_by", sa.Text),
        _required("source", sa.Text),
        _required("opened_at", _TIME),
        _required("committed_at", _TIME),
        _required("writer", sa.Text),
        sa.CheckConstraint("first_position < next_position", name="conversation_batch_range_check"),
    )


def _create_ingest() -> None:
    op.create_table(
        "ingest_offset",
        _key("topic_id"),
        _key("partition", sa.Integer),
        _required("topic", sa.Text),
        _required("next_position", sa.BigInteger),
        _required("highest_timestamp", sa.BigInteger),
        _since("updated_at"),
        _required("writer", sa.Text),
        **_UPDATED_IN_PLACE,
    )
    op.create_table(
        "ingest_loss",
        *_range_columns(),
        _since("recorded_at"),
        _required("writer", sa.Text),
        sa.CheckConstraint("first_position < next_position", name="ingest_loss_range_check"),
    )
