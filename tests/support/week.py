"""A week of the demo's traffic, straight through the sink: what pages are looked at with."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

from intentloop_demo.nlu import IntentClassifier
from intentloop_demo.traffic import Customers, Delivery, Message, deliver
from intentloop_demo.utterances import load_utterances, split
from intentloop_schemas import Batch, ClosedBy, Entry, TopicPartition
from intentloop_sink import PostgresSink, Stored
from intentloop_training.prediction import Prediction
from support.batches import LogRecord, entry

DAYS = 7
PLANTED = "do you have the diwali hamper"
"""Customers ask for it today, and never did before."""
_GROUP = 2_000
_BATCH = 10


def store_week(url: str, conversations: int, *, seed: int = 7, planted: int = 30) -> int:
    """Store a week that ends now; return how many messages. About 6,000 of them a second."""
    rng, now = Random(seed), datetime.now(UTC)
    taught, unseen = split(load_utterances())
    classifier = IntentClassifier.train(taught)
    customers = Customers(unseen, rng)
    deliveries = [
        delivery
        for _ in range(conversations)
        for delivery in deliver(customers.converse(_moment(now, rng)), rng)
        if not delivery.again and delivery.message.timestamp < now.timestamp() * 1000
    ]
    deliveries += [_planted(now, number, rng) for number in range(planted)]
    deliveries.sort(key=lambda delivery: delivery.at)
    model = _models(classifier.version, now)
    sink = PostgresSink(url, window_seconds=30, writer="week")
    stored = 0
    for first in range(0, len(deliveries), _GROUP):
        stored += _store(sink, classifier, deliveries[first : first + _GROUP], stored, model)
    sink.close()
    return stored


def _moment(now: datetime, rng: Random) -> int:
    """Return a moment of the week, epoch ms: few people write at night, more every day."""
    while True:
        back = timedelta(seconds=rng.triangular(0, DAYS * 86_400, 0))
        moment = now - back
        if rng.random() < (0.15 if moment.hour < 6 else 1.0):
            return round(moment.timestamp() * 1000)


def _planted(now: datetime, number: int, rng: Random) -> Delivery:
    at = round((now - timedelta(hours=rng.uniform(0.1, 20))).timestamp() * 1000)
    message = Message(
        channel="whatsapp",
        sender=f"+91000002{number:04d}",
        session_id=f"hamper-{number}",
        message_id=f"hamper-{number}-0",
        language="en",
        step="main_menu",
        text=PLANTED,
        timestamp=at,
        meant="product_availability",
    )
    return Delivery(at + 500, message)


def _models(version: str, now: datetime) -> Callable[[int], str]:
    """Return which model answered when: a new one since the day before yesterday."""
    change = (now - timedelta(days=2)).timestamp() * 1000
    return lambda timestamp: version if timestamp >= change else f"{version}-old"


def _store(
    sink: PostgresSink,
    classifier: IntentClassifier,
    deliveries: list[Delivery],
    position: int,
    model: Callable[[int], str],
) -> int:
    predictions = classifier.classify([delivery.message.text for delivery in deliveries])
    entries = [
        _entry(position + offset, delivery, prediction, model)
        for offset, (delivery, prediction) in enumerate(zip(deliveries, predictions, strict=True))
    ]
    batches = [_batch(entries[i : i + _BATCH]) for i in range(0, len(entries), _BATCH)]
    outcome = sink.store(sink.prepare(batches))
    assert isinstance(outcome, Stored), outcome
    return len(entries)


def _entry(
    position: int, delivery: Delivery, prediction: Prediction, model: Callable[[int], str]
) -> Entry:
    message = delivery.message
    made = entry(
        position,
        phone_number=message.sender,
        message_text=message.text,
        intent=prediction.intent,
        confidence=prediction.confidence,
        current_step=message.step,
        timestamp=message.timestamp,
        event_id=message.message_id,
        channel=message.channel,
        language=message.language,
        model_version=model(message.timestamp),
        session_id=message.session_id,
        message_id=message.message_id,
        alternatives=[guess._asdict() for guess in prediction.alternatives],
    )
    return replace(made, record=LogRecord(position, delivery.at))


def _batch(entries: list[Entry]) -> Batch:
    first, last = entries[0].record, entries[-1].record
    return Batch(
        TopicPartition("intentloop.conversations.v1", "week", 0),
        first.offset,
        last.offset + 1,
        max(each.event.timestamp for each in entries),
        # As if the worker had been there at once.
        round(time.time() * 1000) - 3_000,
        ClosedBy.SIZE if len(entries) == _BATCH else ClosedBy.TIME,
        entries,
    )
