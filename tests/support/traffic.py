"""Hostile traffic, reproducible from a seed: disorder, duplicates, poison of every kind."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterable, Iterator
from importlib.resources import files
from typing import Any, NamedTuple

from confluent_kafka import Producer

CHANNELS = ["whatsapp", "telegram", "web", "rcs"]
EVENTS_PER_SECOND = 30
EXPECT = "expect"
"""Header that tells the recomputation what should become of a record."""
VALID = b"valid"


class Message(NamedTuple):
    """A record to produce; `timestamp` is its Kafka timestamp in epoch ms."""

    key: bytes
    value: bytes | None
    timestamp: int
    expect: bytes


def utterances() -> list[tuple[str, str]]:
    """Return (utterance, intent) pairs of the demo's data file."""
    text = files("intentloop_demo").joinpath("utterances.csv").read_text(encoding="utf-8")
    return [(row["utterance"], row["intent"]) for row in csv.DictReader(text.splitlines())]


def hostile_traffic(
    count: int, seed: int, start_ms: int, texts: list[tuple[str, str]] | None = None
) -> Iterator[Message]:
    """Yield `count` records or a few more: 2 % sent twice, 1 % poison, times in disorder."""
    rng = random.Random(seed)
    texts = texts or utterances()
    recent: list[Message] = []
    for index in range(count):
        logged_at = start_ms + index * 1000 // EVENTS_PER_SECOND
        message = _message(rng, index, logged_at, texts)
        yield message
        recent = [*recent[-200:], message]
        if rng.random() < 0.02:
            again = rng.choice(recent)
            yield again._replace(timestamp=logged_at)


def unrepeated(messages: Iterable[Message]) -> Iterator[Message]:
    """Leave out what is sent twice: which of two partitions has it first is anybody's guess."""
    seen: set[bytes | None] = set()
    for message in messages:
        if message.value not in seen:
            seen.add(message.value)
            yield message


def produce(bootstrap_servers: str, topic: str, messages: Iterator[Message]) -> int:
    """Produce everything, wait until Kafka has it, and return how many records that were."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "linger.ms": 20,
            "compression.type": "lz4",
            "message.max.bytes": 4_000_000,
        }
    )
    count = 0
    for message in messages:
        send(producer, topic, message)
        count += 1
    assert producer.flush(60) == 0
    return count


def send(producer: Producer, topic: str, message: Message) -> None:
    """Queue one record, waiting while the producer's queue is full."""
    while True:
        try:
            producer.produce(
                topic,
                key=message.key,
                value=message.value,
                timestamp=message.timestamp,
                headers=[(EXPECT, message.expect)],
            )
        except BufferError:
            producer.poll(0.5)
        else:
            producer.poll(0)
            return


def _message(
    rng: random.Random, index: int, logged_at: int, texts: list[tuple[str, str]]
) -> Message:
    event = _event(rng, index, logged_at, texts)
    key = event["phoneNumber"].encode()
    if rng.random() < 0.01:
        value, reason = _poison(rng, event)
        return Message(key, value, logged_at, reason)
    return Message(key, json.dumps(event).encode(), logged_at, VALID)


def _event(
    rng: random.Random, index: int, logged_at: int, texts: list[tuple[str, str]]
) -> dict[str, Any]:
    text, intent = rng.choice(texts)
    event: dict[str, Any] = {
        "phoneNumber": f"+1555{rng.randrange(5_000):07d}",
        "messageText": rng.choice([text, text.upper(), f"{text}\t\\N {index}", f'"{text}"\n']),
        "intent": rng.choice([intent] * 20 + ["nlu_fallback"]),
        "confidence": round(rng.betavariate(6, 1.2), rng.choice([2, 6, 15])),
        "timestamp": _event_time(rng, logged_at),
        "channel": rng.choice(CHANNELS),
        "currentStep": rng.choice([None, "main_menu", "checkout"]),
    }
    if rng.random() < 0.9:
        event["eventId"] = f"e-{rng.getrandbits(64):016x}"
    if rng.random() < 0.5:
        event["modelVersion"] = rng.choice(["2026-10", "2026-11"])
    if rng.random() < 0.2:
        event["alternatives"] = [
            {"intent": "other", "confidence": round(event["confidence"] * rng.random(), 3)}
        ]
    if rng.random() < 0.1:
        event["datasetId"] = "ds-other"
    return event


def _event_time(rng: random.Random, logged_at: int) -> int:
    """Mostly a second old; some very late, some from a clock that runs far ahead."""
    kind = rng.random()
    if kind < 0.01:
        return logged_at - rng.randrange(60_000, 600_000)
    if kind < 0.012:
        return logged_at + rng.randrange(60_001, 600_000)
    return logged_at - rng.randrange(0, 20_000)


def _poison(rng: random.Random, event: dict[str, Any]) -> tuple[bytes | None, bytes]:
    def changed(**changes: object) -> bytes:
        return json.dumps({**event, **changes}).encode()

    return rng.choice(
        [
            (None, b"no_value"),
            (b"", b"invalid_json"),
            (b"{", b"invalid_json"),
            (b"\xff\xfe not utf-8", b"invalid_json"),
            (b"[" * 64, b"invalid_json"),
            (changed() + b"," + changed(), b"invalid_json"),
            (b"[]", b"invalid_event"),
            (b"{}", b"invalid_event"),
            (changed(messageText="a\0b"), b"invalid_event"),
            (changed(confidence=float("nan")), b"invalid_event"),
            (changed(confidence="0.9"), b"invalid_event"),
            (changed(confidence=1.5), b"invalid_event"),
            (changed(phoneNumber=1555), b"invalid_event"),
            (changed(timestamp=event["timestamp"] // 1000), b"invalid_event"),
            (changed(messageText="x" * 4_097), b"invalid_event"),
            (changed(datasetId="No Such Dataset"), b"invalid_event"),
        ]
    )
