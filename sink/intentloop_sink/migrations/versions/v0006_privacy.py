"""What must not be kept: erased senders, and the horizons of retention."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_KEY_TEXT = sa.Text(collation="C")
_TIME = sa.DateTime(timezone=True)
_KEY_BYTES = 32


def upgrade() -> None:
    """Create the tables, and the key that hashes senders."""
    op.create_table(
        "erased_sender",
        sa.Column("sender_hash", _KEY_TEXT, primary_key=True),
        sa.Column("erased_at", _TIME, nullable=False),
    )
    op.create_table(
        "retention",
        sa.Column("dataset_id", _KEY_TEXT, primary_key=True),
        sa.Column("days", sa.Integer),
        sa.Column("horizon", _TIME),
        sa.Column("updated_at", _TIME, nullable=False, server_default=sa.func.now()),
        sa.CheckConstraint("days > 0", name="retention_days_check"),
    )
    suppression = op.create_table(
        "suppression",
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
    )
    op.bulk_insert(suppression, [{"version": 0, "key": secrets.token_hex(_KEY_BYTES)}])
    op.add_column(
        "conversation_batch",
        sa.Column("suppressed", sa.Integer, nullable=False, server_default="0"),
    )


def downgrade() -> None:
    """Forget who was erased and what was removed: a replay brings it back."""
    op.drop_column("conversation_batch", "suppressed")
    for table in ("suppression", "retention", "erased_sender"):
        op.drop_table(table)
