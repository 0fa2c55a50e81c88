"""Who and what must not be kept."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, Table, Text

from intentloop_sink.tables.columns import KEY_TEXT, TIME, metadata, updated_at

# Who was erased. A keyed hash, because the sender is what must not be kept.
erased_sender = Table(
    "erased_sender",
    metadata,
    Column("sender_hash", KEY_TEXT, primary_key=True),
    Column("erased_at", TIME, nullable=False),
)

# How long datasets keep examples, and before what event time they have none any more.
retention = Table(
    "retention",
    metadata,
    Column("dataset_id", KEY_TEXT, primary_key=True),
    Column("days", Integer),
    Column("horizon", TIME),
    updated_at(),
    CheckConstraint("days > 0", name="retention_days_check"),
)

# One row: the version of the two tables above, which every transaction looks at, and the key of
# the hashes.
suppression = Table(
    "suppression",
    metadata,
    Column("version", BigInteger, nullable=False),
    Column("key", Text, nullable=False),
)
