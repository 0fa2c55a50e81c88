"""The tables as they are now; the migrations lead there, and a test compares the two."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Dialect,
    Double,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    TypeDecorator,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import TypeEngine

metadata = MetaData()

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Instant(TypeDecorator[datetime]):
    """A time with its zone. SQLite, which has none, keeps epoch milliseconds."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type that the database keeps."""
        is_sqlite = dialect.name == "sqlite"
        return dialect.type_descriptor(BigInteger() if is_sqlite else self.impl_instance)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Return what is sent to the database."""
        if value is None or dialect.name != "sqlite":
            return value
        return (value - _EPOCH) // _MILLISECOND

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Return what the database sent."""
        if value is None or dialect.name != "sqlite":
            return value
        return _EPOCH + value * _MILLISECOND


# Compared byte by byte, as SQLite always does: what is looked up or sorted needs no language rules.
_KEY_TEXT = Text(collation="C").with_variant(Text(), "sqlite")
_TEXTS = ARRAY(Text).with_variant(JSON(), "sqlite")
_JSON = JSONB().with_variant(JSON(none_as_null=True), "sqlite")
_TIME = Instant()


def _now() -> Column[object]:
    return Column("updated_at", _TIME, nullable=False, server_default=func.now())


# No foreign key on "datasetId" and no GIN index on tags: each nearly halves the speed of COPY.
example = Table(
    "Example",
    metadata,
    Column("id", _KEY_TEXT, primary_key=True),
    Column("datasetId", _KEY_TEXT, nullable=False),
    Column("type", Text, nullable=False, server_default="nlu"),
    Column("input", Text, nullable=False),
    Column("intent", Text, nullable=False),
    Column("tags", _TEXTS, nullable=False),
    Column("createdAt", _TIME, nullable=False),
    Column("eventId", Text, nullable=False),
    Column("predictedIntent", Text, nullable=False),
    Column("confidence", Double, nullable=False),
    Column("reviewReasons", _TEXTS, nullable=False),
    Column("sender", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("language", Text),
    Column("modelVersion", Text, nullable=False),
    Column("sessionId", Text),
    Column("messageId", Text),
    Column("currentStep", Text),
    Column("alternatives", _JSON),
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
    Column("id", _KEY_TEXT, primary_key=True),
    Column("name", Text, nullable=False),
    Column("type", Text, nullable=False, server_default="nlu"),
    Column("created_at", _TIME, nullable=False, server_default=func.now()),
    _now(),
)

# How many examples each dataset has, in as many parts as there are partitions. A part is changed
# only by who holds the partition's row of ingest_offset, so no two workers ever wait here.
dataset_counter = Table(
    "dataset_counter",
    metadata,
    Column("dataset_id", _KEY_TEXT, primary_key=True),
    Column("topic_id", _KEY_TEXT, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("examples", BigInteger, nullable=False),
    _now(),
    postgresql_with={"fillfactor": "70"},
)


def _statistics(name: str) -> Table:
    """Sums of micros and counts, so that the order of events never matters."""
    return Table(
        name,
        metadata,
        Column("dataset_id", _KEY_TEXT, primary_key=True),
        Column("window_start", _TIME, primary_key=True),
        Column("intent", _KEY_TEXT, primary_key=True),
        Column("channel", _KEY_TEXT, primary_key=True),
        Column("model_version", _KEY_TEXT, primary_key=True),
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
        Column("first_event_at", _TIME, nullable=False),
        Column("last_event_at", _TIME, nullable=False),
        _now(),
        postgresql_with={"fillfactor": "70"},
    )


intent_window_stats = _statistics("intent_window_stats")
intent_hourly_stats = _statistics("intent_hourly_stats")

conversation_batch = Table(
    "conversation_batch",
    metadata,
    Column("topic_id", _KEY_TEXT, primary_key=True),
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
    Column("opened_at", _TIME, nullable=False),
    Column("committed_at", _TIME, nullable=False),
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
    Column("topic_id", _KEY_TEXT, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("topic", Text, nullable=False),
    Column("next_position", BigInteger, nullable=False),
    Column("highest_timestamp", BigInteger, nullable=False),
    _now(),
    Column("writer", Text, nullable=False),
    postgresql_with={"fillfactor": "70"},
)

# Positions that the log no longer had when their turn came.
ingest_loss = Table(
    "ingest_loss",
    metadata,
    Column("topic_id", _KEY_TEXT, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("first_position", BigInteger, primary_key=True),
    Column("next_position", BigInteger, nullable=False),
    Column("topic", Text, nullable=False),
    Column("recorded_at", _TIME, nullable=False, server_default=func.now()),
    Column("writer", Text, nullable=False),
    CheckConstraint("first_position < next_position", name="ingest_loss_range_check"),
)

# Who was erased. A keyed hash, because the sender is what must not be kept.
erased_sender = Table(
    "erased_sender",
    metadata,
    Column("sender_hash", _KEY_TEXT, primary_key=True),
    Column("erased_at", _TIME, nullable=False),
)

# How long datasets keep examples, and before what event time they have none any more.
retention = Table(
    "retention",
    metadata,
    Column("dataset_id", _KEY_TEXT, primary_key=True),
    Column("days", Integer),
    Column("horizon", _TIME),
    _now(),
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

# What may be done with the API. The key itself is nowhere, only its digest.
api_key = Table(
    "api_key",
    metadata,
    Column("id", _KEY_TEXT, primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("scopes", _TEXTS, nullable=False),
    Column("datasets", _TEXTS),
    Column("requests_per_minute", Integer),
    Column("created_at", _TIME, nullable=False, server_default=func.now()),
    Column("expires_at", _TIME),
    Column("revoked_at", _TIME),
    Column("last_used_at", _TIME),
)

# Who is signed in at the pages. The token itself is nowhere, only its digest.
page_session = Table(
    "page_session",
    metadata,
    Column("digest", _KEY_TEXT, primary_key=True),
    Column("key_id", _KEY_TEXT, nullable=False),
    Column("created_at", _TIME, nullable=False),
    Column("expires_at", _TIME, nullable=False),
)

# What people say about an intent. How often it occurs is in the statistics.
intent = Table(
    "intent",
    metadata,
    Column("dataset_id", _KEY_TEXT, primary_key=True),
    Column("name", _KEY_TEXT, primary_key=True),
    Column("description", Text, nullable=False),
    _now(),
)

# What loggers counted since their start: the only ones who can measure log().
logger_report = Table(
    "logger_report",
    metadata,
    Column("logger_id", _KEY_TEXT, primary_key=True),
    Column("reported_at", _TIME, primary_key=True),
    Column("started_at", _TIME, nullable=False),
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

# Flagged examples that the review queue has not seen yet, a row or more for each transaction that
# stored some. Whoever makes cards of them deletes the row: no late commit can hide behind a mark.
review_inbox = Table(
    "review_inbox",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("example_ids", _TEXTS, nullable=False),
)

# What a reviewer decides at once: the same text at the same step of the dialogue.
review_card = Table(
    "review_card",
    metadata,
    Column("id", _KEY_TEXT, primary_key=True),
    Column("queue", _KEY_TEXT, nullable=False),
    Column("dataset_id", _KEY_TEXT, nullable=False),
    Column("text", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("sample_id", _KEY_TEXT, nullable=False),
    Column("predicted_intent", Text, nullable=False),
    Column("confidence", Double, nullable=False),
    Column("copies", BigInteger, nullable=False),
    Column("priority", Double, nullable=False),
    Column("state", _KEY_TEXT, nullable=False),
    Column("decision_id", BigInteger),
    Column("is_settled", Boolean, nullable=False),
    Column("leased_by", Text),
    Column("leased_until", _TIME),
    Column("created_at", _TIME, nullable=False),
    Column("last_at", _TIME, nullable=False),
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
    Column("example_id", _KEY_TEXT, primary_key=True),
    Column("card_id", _KEY_TEXT, nullable=False),
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
    Column("card_id", _KEY_TEXT, nullable=False),
    Column("queue", _KEY_TEXT, nullable=False),
    Column("dataset_id", _KEY_TEXT, nullable=False),
    Column("verdict", _KEY_TEXT, nullable=False),
    Column("intent", Text),
    Column("predicted_intent", Text, nullable=False),
    Column("confidence", Double, nullable=False),
    Column("copies", BigInteger, nullable=False),
    Column("reviewer", _KEY_TEXT, nullable=False),
    Column("decided_at", _TIME, nullable=False),
    Column("undone_at", _TIME),
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
    Column("card_id", _KEY_TEXT, primary_key=True),
    Column("reviewer", _KEY_TEXT, primary_key=True),
    Column("until", _TIME, nullable=False),
)

# Days whose audit sample was drawn, and from how many unflagged messages.
review_audit_day = Table(
    "review_audit_day",
    metadata,
    Column("dataset_id", _KEY_TEXT, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("population", BigInteger, nullable=False),
    Column("drawn", Integer, nullable=False),
)

# Jobs that train models; the models themselves are files. One job of a dataset runs at a time.
training_job = Table(
    "training_job",
    metadata,
    Column("id", _KEY_TEXT, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("dataset_id", _KEY_TEXT, nullable=False),
    Column("status", Text, nullable=False),
    Column("progress", Double, nullable=False),
    Column("seconds_left", Double),
    Column("created_at", _TIME, nullable=False),
    Column("started_at", _TIME),
    Column("finished_at", _TIME),
    Column("snapshot", JSONB(none_as_null=True)),
    Column("result", JSONB(none_as_null=True)),
    Column("reason", Text),
    Column("model_version", Text),
    Column("promoted", Boolean),
    Column("retry_of", _KEY_TEXT),
    Column("cancel_requested", Boolean, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("runner", Text),
    Column("heartbeat_at", _TIME),
    Column("log", JSONB, nullable=False),
)
Index("training_job_newest", training_job.c.dataset_id, training_job.c.created_at)
Index(
    "training_job_one_running",
    training_job.c.dataset_id,
    unique=True,
    postgresql_where=text("status = 'RUNNING'::text"),
)
