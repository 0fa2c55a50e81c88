"""The bench's topic: plain events of about 220 bytes, as a chatbot would send them."""

from __future__ import annotations

import json
import random
import time

from confluent_kafka import Producer

INTENTS = [f"intent_{number}" for number in range(40)]
CHANNELS = ["whatsapp", "telegram", "web", "rcs"]
SENDERS = 20_000
EVENTS_PER_SECOND = 1_000


def produce(bootstrap_servers: str, topic: str, count: int, seed: int = 7) -> int:
    """Produce `count` events whose times end now; return how many there are."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "linger.ms": 50,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    rng = random.Random(seed)
    start = int(time.time() * 1000) - count * 1000 // EVENTS_PER_SECOND
    for index in range(count):
        timestamp = start + index * 1000 // EVENTS_PER_SECOND
        event = _event(rng, timestamp)
        producer.produce(topic, key=event["phoneNumber"], value=json.dumps(event), on_delivery=None)
        if index % 10_000 == 0:
            producer.poll(0)
    if producer.flush(120):
        raise RuntimeError("Kafka did not take the bench's events in 120 s")
    return count


def _event(rng: random.Random, timestamp: int) -> dict[str, object]:
    return {
        "phoneNumber": f"+1555{rng.randrange(SENDERS):07d}",
        "messageText": "where is my order, it was due yesterday",
        "intent": rng.choice(INTENTS),
        "confidence": round(rng.betavariate(6, 1.2), 6),
        "currentStep": "main_menu",
        "timestamp": timestamp,
        "eventId": f"{timestamp:012x}{rng.getrandbits(80):020x}",
        "channel": rng.choice(CHANNELS),
    }
