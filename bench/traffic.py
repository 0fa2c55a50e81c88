"""The bench's topic: plain events of about 220 bytes, in order of time, as chatbots send them."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Producer

CHANNELS = ["whatsapp", "telegram", "web", "rcs"]
TICK_INTENT = "tick"
"""Intent of the last event of every partition."""
_TICK_LEAD_MS = 3_600_000
_RECENT = 1_000


@dataclass(frozen=True)
class Traffic:
    """What a topic holds."""

    events: int
    """How many different events."""
    senders: int = 20_000
    intents: int = 40
    datasets: int = 1
    duplicates: float = 0.0
    """Share of the events that are sent a second time, soon after."""
    events_per_second: int = 1_000
    """In event time, so this decides how many windows there are."""
    seed: int = 7

    def events_until(self, end_ms: int) -> Iterator[dict[str, Any]]:
        """Yield the events, the last of them at `end_ms`; duplicates are the same object again."""
        rng = random.Random(self.seed)
        start = end_ms - self.events * 1000 // self.events_per_second
        recent: list[dict[str, Any]] = []
        for index in range(self.events):
            event = self._event(rng, start + index * 1000 // self.events_per_second)
            yield event
            if self.duplicates:
                recent = [*recent[-_RECENT:], event]
                if rng.random() < self.duplicates:
                    yield rng.choice(recent)

    def _event(self, rng: random.Random, timestamp: int) -> dict[str, Any]:
        event = {
            "phoneNumber": f"+1555{rng.randrange(self.senders):07d}",
            "messageText": "where is my order, it was due yesterday",
            "intent": f"intent_{rng.randrange(self.intents)}",
            "confidence": round(rng.betavariate(6, 1.2), 6),
            "currentStep": "main_menu",
            "timestamp": timestamp,
            "eventId": f"{timestamp:012x}{rng.getrandbits(80):020x}",
            "channel": rng.choice(CHANNELS),
        }
        if self.datasets > 1:
            event["datasetId"] = f"ds-{rng.randrange(self.datasets)}"
        return event


def produce(bootstrap_servers: str, topic: str, traffic: Traffic) -> int:
    """Produce everything and a tick; return how many records that are without the ticks.

    A tick is an event an hour after all others, the last of its partition: engines that close
    windows by event time close all others when they see it.
    """
    now = time.time_ns() // 1_000_000
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "linger.ms": 50,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    count = 0
    for count, event in enumerate(traffic.events_until(now), 1):  # noqa: B007 - the last counts
        _send(producer, topic, event, key=event["phoneNumber"])
    partitions = producer.list_topics(topic, 10).topics[topic].partitions
    _flush(producer)
    for partition in partitions:
        _send(producer, topic, _tick(partition, now + _TICK_LEAD_MS), partition=partition)
    _flush(producer)
    return count


def _send(producer: Producer, topic: str, event: dict[str, Any], **place: Any) -> None:
    value = json.dumps(event).encode()
    while True:
        try:
            producer.produce(topic, value, **place)
        except BufferError:
            producer.poll(0.2)
        else:
            return


def _flush(producer: Producer) -> None:
    if producer.flush(120):
        raise RuntimeError("Kafka did not take the bench's events in 120 s")


def _tick(partition: int, timestamp: int) -> dict[str, Any]:
    return {
        "phoneNumber": f"tick-{partition}",
        "messageText": TICK_INTENT,
        "intent": TICK_INTENT,
        "confidence": 1.0,
        "currentStep": None,
        "timestamp": timestamp,
        "eventId": f"tick-{partition}-{timestamp}",
        "channel": "web",
    }
