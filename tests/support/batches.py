"""Entries and batches as the stream makes them, from a few words."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from intentloop_schemas import (
    Batch,
    ClosedBy,
    Entry,
    Event,
    ReviewRule,
    TopicPartition,
    event_identity,
    example_id,
)
from intentloop_sink import Stored

NOON = 1_700_000_000_000
PARTITION = TopicPartition("conversations", "topic-1", 0)
RULE = ReviewRule()


@dataclass(frozen=True, slots=True)
class LogRecord:
    offset: int
    timestamp: int = NOON
    key: bytes | None = None
    value: bytes | None = None


def partition(number: int) -> TopicPartition:
    return PARTITION._replace(partition=number)


def entry(offset: int, *, late: bool = False, **fields: Any) -> Entry:
    """Make an entry; what is not given is ordinary and depends on the offset alone."""
    given = {
        "phone_number": "+919876543210",
        "message_text": "where is my order?",
        "intent": "track_order",
        "confidence": 0.95,
        "timestamp": NOON + offset,
        "event_id": f"event-{offset}",
        **fields,
    }
    event = Event.model_validate(given, by_name=True)
    identity = event_identity(event)
    return Entry(
        event,
        identity,
        example_id(event.dataset_id, identity, event.timestamp),
        RULE.reasons(event.intent, event.confidence, event.alternatives),
        late,
        LogRecord(offset),
    )


def batch(entries: Sequence[Entry], first: int | None = None, **fields: Any) -> Batch:
    """Make a batch that ends behind its last entry."""
    begin = entries[0].record.offset if first is None else first
    given = {
        "partition": PARTITION,
        "first_position": begin,
        "next_position": entries[-1].record.offset + 1 if entries else begin,
        "highest_timestamp": max((e.event.timestamp for e in entries), default=0),
        "opened_at": NOON,
        "closed_by": ClosedBy.SIZE,
        "entries": list(entries),
        **fields,
    }
    return Batch(**given)


def tens(entries: Sequence[Entry], **fields: Any) -> list[Batch]:
    """Cut entries into batches of ten."""
    return [batch(entries[i : i + 10], **fields) for i in range(0, len(entries), 10)]


def traffic(offsets: Iterable[int], seed: int = 0) -> list[Entry]:
    """Make varied entries: several days, datasets, channels, models, languages and confidences."""
    chance = random.Random(seed)
    return [
        entry(
            offset,
            late=chance.random() < 0.1,
            event_id=f"event-{seed}-{offset}",
            message_text=chance.choice(["where is it?", "panir tikka", "मेरा ऑर्डर", "ok\n👍🏽"]),
            intent=chance.choice(["track_order", "cancel", "nlu_fallback"]),
            confidence=chance.choice([0.0, 1.0, 0.7, chance.random(), round(chance.random(), 2)]),
            timestamp=NOON + chance.randrange(-90_000_000, 90_000_000),
            channel=chance.choice(["whatsapp", "web"]),
            dataset_id=chance.choice(["ds-auto-training", "ds-shop"]),
            model_version=chance.choice([None, "", "v2"]),
        )
        for offset in offsets
    ]


def fates(outcome: object) -> Stored:
    """Return what became of records that were stored, without what is counted for metrics."""
    assert isinstance(outcome, Stored), outcome
    return replace(outcome, flagged=0, batches=0)
