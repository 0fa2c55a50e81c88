"""Training jobs."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"

_KEY_TEXT = sa.Text(collation="C")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "training_job",
        sa.Column("id", _KEY_TEXT, primary_key=True),
        _required("kind", sa.Text),
        _required("dataset_id", _KEY_TEXT),
        _required("status", sa.Text),
        _required("progress", sa.Double),
        sa.Column("seconds_left", sa.Double),
        _required("created_at", _TIME),
        sa.Column("started_at", _TIME),
        sa.Column("finished_at", _TIME),
        sa.Column("snapshot", JSONB),
        sa.Column("result", JSONB),
        sa.Column("reason", sa.Text),
        sa.Column("model_version", sa.Text),
        sa.Column("promoted", sa.Boolean),
        sa.Column("retry_of", _KEY_TEXT),
        _required("cancel_requested", sa.Boolean),
        _required("attempt", sa.Integer),
        sa.Column("runner", sa.Text),
        sa.Column("heartbeat_at", _TIME),
        _required("log", JSONB),
    )
    op.create_index("training_job_newest", "training_job", ["dataset_id", "created_at"])
    op.create_index(
        "training_job_one_running",
        "training_job",
        ["dataset_id"],
        unique=True,
        postgresql_where=sa.text("status = 'RUNNING'::text"),
    )


def downgrade() -> None:
    """Drop the table and all it holds."""
    op.drop_table("training_job")


def _required(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)
