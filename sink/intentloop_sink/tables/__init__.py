"""The tables as they are now; the migrations lead there, and a test compares the two."""

from __future__ import annotations

from intentloop_sink.tables.access import api_key, page_session
from intentloop_sink.tables.columns import Instant, metadata
from intentloop_sink.tables.conversations import (
    dataset,
    dataset_counter,
    example,
    intent,
    intent_hourly_stats,
    intent_window_stats,
)
from intentloop_sink.tables.ingest import (
    conversation_batch,
    ingest_loss,
    ingest_offset,
    logger_report,
)
from intentloop_sink.tables.privacy import erased_sender, retention, suppression
from intentloop_sink.tables.review import (
    review_audit_day,
    review_card,
    review_copy,
    review_decision,
    review_inbox,
    review_skip,
)
from intentloop_sink.tables.training import training_job

__all__ = [
    "Instant",
    "api_key",
    "conversation_batch",
    "dataset",
    "dataset_counter",
    "erased_sender",
    "example",
    "ingest_loss",
    "ingest_offset",
    "intent",
    "intent_hourly_stats",
    "intent_window_stats",
    "logger_report",
    "metadata",
    "page_session",
    "retention",
    "review_audit_day",
    "review_card",
    "review_copy",
    "review_decision",
    "review_inbox",
    "review_skip",
    "suppression",
    "training_job",
]
