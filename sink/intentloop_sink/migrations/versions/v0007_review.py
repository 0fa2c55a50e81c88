"""The review queue and the sessions of its reviewers."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0007"
down_revision = "0006"

_KEY_TEXT = sa.Text(collation="C")
_TIME = sa.DateTime(timezone=True)

# What was flagged before there was a queue waits for it like everything that comes from now on.
_SEED = """
INSERT INTO review_inbox (example_ids)
SELECT array_agg(id ORDER BY id) FROM (
  SELECT id, row_number() OVER (ORDER BY "datasetId", "createdAt") / 1000 AS part
  FROM "Example" WHERE tags @> ARRAY['needs_review'::text]) AS flagged
GROUP BY part ORDER BY part
"""


def upgrade() -> None:
    """Create the tables."""
    _create_inbox()
    _create_card()
    _create_copy()
    _create_decision()
    _create_skip()
    _create_audit_day()
    _create_session()
    op.execute(_SEED)


def downgrade() -> None:
    """Drop the tables and all they hold; examples keep what decisions made of them."""
    for table in (
        "page_session",
        "review_audit_day",
        "review_skip",
        "review_decision",
        "review_copy",
        "review_card",
        "review_inbox",
    ):
        op.drop_table(table)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, sa.Identity(), primary_key=True)


def _required(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def _create_inbox() -> None:
    op.create_table("review_inbox", _number("id"), _required("example_ids", ARRAY(sa.Text)))
    # Ids are half chance: trying to compress them only costs the writer time.
    op.execute("ALTER TABLE review_inbox ALTER COLUMN example_ids SET STORAGE EXTERNAL")


def _create_card() -> None:
    op.create_table(
        "review_card",
        sa.Column("id", _KEY_TEXT, primary_key=True),
        _required("queue", _KEY_TEXT),
        _required("dataset_id", _KEY_TEXT),
        _required("text", sa.Text),
        _required("step", sa.Text),
        _required("sample_id", _KEY_TEXT),
        _required("predicted_intent", sa.Text),
        _required("confidence", sa.Double),
        _required("copies", sa.BigInteger),
        _required("priority", sa.Double),
        _required("state", _KEY_TEXT),
        sa.Column("decision_id", sa.BigInteger),
        _required("is_settled", sa.Boolean),
        sa.Column("leased_by", sa.Text),
        sa.Column("leased_until", _TIME),
        _required("created_at", _TIME),
        _required("last_at", _TIME),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index(
        "review_card_queue",
        "review_card",
        ["dataset_id", "queue", "state", sa.text("priority DESC"), "id"],
        postgresql_where=sa.text("state = ANY (ARRAY['open'::text, 'unsure'::text])"),
    )
    op.create_index(
        "review_card_unsettled",
        "review_card",
        ["id"],
        postgresql_where=sa.text("NOT is_settled"),
    )
    op.create_index(
        "review_card_lease",
        "review_card",
        ["leased_by"],
        postgresql_where=sa.text("leased_by IS NOT NULL"),
    )


def _create_copy() -> None:
    op.create_table(
        "review_copy",
        sa.Column("example_id", _KEY_TEXT, primary_key=True),
        _required("card_id", _KEY_TEXT),
        sa.Column("decision_id", sa.BigInteger),
        sa.Column("prior_intent", sa.Text),
    )
    op.create_index("review_copy_card", "review_copy", ["card_id", "example_id"])


def _create_decision() -> None:
    op.create_table(
        "review_decision",
        _number("id"),
        _required("group_id", sa.Text),
        _required("card_id", _KEY_TEXT),
        _required("queue", _KEY_TEXT),
        _required("dataset_id", _KEY_TEXT),
        _required("verdict", _KEY_TEXT),
        sa.Column("intent", sa.Text),
        _required("predicted_intent", sa.Text),
        _required("confidence", sa.Double),
        _required("copies", sa.BigInteger),
        _required("reviewer", _KEY_TEXT),
        _required("decided_at", _TIME),
        sa.Column("undone_at", _TIME),
    )
    op.create_index("review_decision_by", "review_decision", ["reviewer", "decided_at"])
    op.create_index("review_decision_of", "review_decision", ["dataset_id", "queue", "decided_at"])


def _create_skip() -> None:
    op.create_table(
        "review_skip",
        sa.Column("card_id", _KEY_TEXT, primary_key=True),
        sa.Column("reviewer", _KEY_TEXT, primary_key=True),
        _required("until", _TIME),
    )


def _create_audit_day() -> None:
    op.create_table(
        "review_audit_day",
        sa.Column("dataset_id", _KEY_TEXT, primary_key=True),
        sa.Column("day", sa.Date, primary_key=True),
        _required("population", sa.BigInteger),
        _required("drawn", sa.Integer),
    )


def _create_session() -> None:
    op.create_table(
        "page_session",
        sa.Column("digest", _KEY_TEXT, primary_key=True),
        _required("key_id", _KEY_TEXT),
        _required("created_at", _TIME),
        _required("expires_at", _TIME),
    )
