"""Tables of the API: keys, descriptions of intents, reports of loggers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0004"
down_revision = "0003"

_KEY_TEXT = sa.Text(collation="C")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "api_key",
        sa.Column("id", _KEY_TEXT, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("scopes", ARRAY(sa.Text), nullable=False),
        sa.Column("datasets", ARRAY(sa.Text)),
        sa.Column("requests_per_minute", sa.Integer),
        sa.Column("created_at", _TIME, nullable=False, server_default=sa.func.now()),
        sa.Column("expires_at", _TIME),
        sa.Column("revoked_at", _TIME),
        sa.Column("last_used_at", _TIME),
    )
    op.create_table(
        "intent",
        sa.Column("dataset_id", _KEY_TEXT, primary_key=True),
        sa.Column("name", _KEY_TEXT, primary_key=True),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False, server_default=sa.func.now()),
    )
    op.create_table(
        "logger_report",
        sa.Column("logger_id", _KEY_TEXT, primary_key=True),
        sa.Column("reported_at", _TIME, primary_key=True),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("accepted", sa.BigInteger, nullable=False),
        sa.Column("recovered", sa.BigInteger, nullable=False),
        sa.Column("delivered", sa.BigInteger, nullable=False),
        sa.Column("invalid", sa.BigInteger, nullable=False),
        sa.Column("failed", sa.BigInteger, nullable=False),
        sa.Column("dropped", sa.BigInteger, nullable=False),
        sa.Column("log_p50_us", sa.Double),
        sa.Column("log_p99_us", sa.Double),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("transport", sa.Text, nullable=False),
    )
    op.create_index("logger_report_newest", "logger_report", ["reported_at"])
    # What came in the last day is asked for often, and the table has years in it.
    op.create_index("conversation_batch_newest", "conversation_batch", ["committed_at"])


def downgrade() -> None:
    """Drop the tables and all they hold."""
    op.drop_index("conversation_batch_newest")
    for table in ("logger_report", "intent", "api_key"):
        op.drop_table(table)
