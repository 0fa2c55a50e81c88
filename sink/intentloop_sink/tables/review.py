"""The review queue and its audit."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Double,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    text,
)

from intentloop_sink.tables.columns import KEY_TEXT, TEXTS, TIME, metadata

# Flagged examples that the review queue has not seen yet, a row or more for each transaction that
# stored some. Whoever makes cards of them deletes the row: no late commit can hide behind a mark.
review_inbox = Table(
    "review_inbox",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("example_ids", TEXTS, nullable=False),
)

# What a reviewer decides at once: the same text at the same step of the dialogue.
review_card = Table(
    "review_card",
    metadata,
    Column("id", KEY_TEXT, primary_key=True),
    Column("queue", KEY_TEXT, nullable=False),
    Column("dataset_id", KEY_TEXT, nullable=False),
    Column("text", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("sample_id", KEY_TEXT, nullable=False),
    Column("predicted_intent", Text, nullable=False),
    Column("confidence", Double, nullable=False),
    Column("copies", BigInteger, nullable=False),
    Column("priority", Double, nullable=False),
    Column("state", KEY_TEXT, nullable=False),
    Column("decision_id", BigInteger),
    Column("is_settled", Boolean, nullable=False),
    Column("leased_by", Text),
    Column("leased_until", TIME),
    Column("created_at", TIME, nullable=False),
    Column("last_at", TIME, nullable=False),
    postgresql_with={"fillfactor": "70"},
)
Index(
    "review_card_queue",
    review_card.c.dataset_id,
    review_card.c.queue,
    review_card.c.state,
    review_card.c.priority.desc(),
    review_card.c.id,
    postgresql_where=text("state = ANY (ARRAY['open'::text, 'unsure'::text])"),
)
Index("review_card_unsettled", review_card.c.id, postgresql_where=text("NOT is_settled"))
Index(
    "review_card_lease",
    review_card.c.leased_by,
    postgresql_where=text("leased_by IS NOT NULL"),
)

# The examples of a card; `prior_intent` is the label before the decision, for who takes it back.
review_copy = Table(
    "review_copy",
    metadata,
    Column("example_id", KEY_TEXT, primary_key=True),
    Column("card_id", KEY_TEXT, nullable=False),
    Column("decision_id", BigInteger),
    Column("prior_intent", Text),
)
Index("review_copy_card", review_copy.c.card_id, review_copy.c.example_id)

# Who decided what and when. Nothing is ever deleted here while its dataset lives.
review_decision = Table(
    "review_decision",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("group_id", Text, nullable=False),
    Column("card_id", KEY_TEXT, nullable=False),
    Column("queue", KEY_TEXT, nullable=False),
    Column("dataset_id", KEY_TEXT, nullable=False),
    Column("verdict", KEY_TEXT, nullable=False),
    Column("intent", Text),
    Column("predicted_intent", Text, nullable=False),
    Column("confidence", Double, nullable=False),
    Column("copies", BigInteger, nullable=False),
    Column("reviewer", KEY_TEXT, nullable=False),
    Column("decided_at", TIME, nullable=False),
    Column("undone_at", TIME),
)
Index("review_decision_by", review_decision.c.reviewer, review_decision.c.decided_at)
Index(
    "review_decision_of",
    review_decision.c.dataset_id,
    review_decision.c.queue,
    review_decision.c.decided_at,
)

# Cards that a reviewer does not want to see before a time.
review_skip = Table(
    "review_skip",
    metadata,
    Column("card_id", KEY_TEXT, primary_key=True),
    Column("reviewer", KEY_TEXT, primary_key=True),
    Column("until", TIME, nullable=False),
)

# Days whose audit sample was drawn, and from how many unflagged messages.
review_audit_day = Table(
    "review_audit_day",
    metadata,
    Column("dataset_id", KEY_TEXT, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("population", BigInteger, nullable=False),
    Column("drawn", Integer, nullable=False),
)
