"""What the tables must hold, recomputed from the topic with nothing of the project's own code.

A million rows are compared by one number: the sum of a hash of each. Only when it differs is
looked at single rows.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import md5, sha256
from math import floor
from typing import Any

from confluent_kafka import Consumer, TopicPartition

THRESHOLD = 0.7
SEPARATOR = "\x1f"
Key = tuple[str, str, str, str, int, int]
"""Dataset, intent, channel, model version, start of the window in epoch ms, its seconds."""
Sums = list[Any]
"""n, flagged, low confidence, fallbacks, late, sum, sum of squares, least, greatest, histogram,
first and last event in epoch ms."""


@dataclass
class Expected:
    """Rows and statistics of a topic that was processed exactly once."""

    rows: dict[str, int] = field(default_factory=dict)
    """The hash of every row by id."""
    windows: dict[Key, Sums] = field(default_factory=dict)
    hours: dict[Key, Sums] = field(default_factory=dict)
    duplicates: int = 0

    @property
    def digest(self) -> tuple[int, int]:
        """How many rows, and the sum of their hashes."""
        return len(self.rows), sum(self.rows.values())


def recompute(bootstrap_servers: str, topic: str, window_seconds: int = 30) -> Expected:
    """Read a whole topic and return what must come of it."""
    expected = Expected()
    highest: dict[int, int] = defaultdict(int)
    for partition, logged_at, value in _read(bootstrap_servers, topic):
        event = json.loads(value)
        timestamp, length = event["timestamp"], window_seconds * 1000
        late = timestamp - timestamp % length + length <= highest[partition] - 5_000
        if timestamp <= logged_at + 60_000:
            highest[partition] = max(highest[partition], timestamp)
        _count(expected, event, window_seconds, late=late)
    return expected


def row_hash(fields: list[str]) -> int:
    """Return 60 bits of the MD5 of a row's fields."""
    text = SEPARATOR.join(fields).encode()
    return int(md5(text, usedforsecurity=False).hexdigest()[:15], 16)


def micros(confidence: float) -> int:
    """Return a confidence in millionths."""
    return floor(1e6 * confidence + 0.5)


def _count(expected: Expected, event: dict[str, Any], seconds: int, *, late: bool) -> None:
    dataset = event.get("datasetId", "ds-auto-training")
    digest = sha256(f"{dataset}\n{event['eventId']}".encode()).hexdigest()
    row_id = f"ex-{event['timestamp'] // 1000}-{digest[:16]}"
    if row_id in expected.rows:
        expected.duplicates += 1
        return
    flagged = event["confidence"] < THRESHOLD
    expected.rows[row_id] = row_hash(_fields(event, row_id, dataset, flagged=flagged))
    for table, length in ((expected.windows, seconds), (expected.hours, 3600)):
        start = event["timestamp"] // (length * 1000) * length * 1000
        key = (dataset, event["intent"], event["channel"], "", start, length)
        _add(table.setdefault(key, _blank()), event, flagged=flagged, late=late)


def _fields(event: dict[str, Any], row_id: str, dataset: str, *, flagged: bool) -> list[str]:
    tags = [
        f"confidence:{floor(100 * event['confidence'] + 0.5)}",
        f"source:{event['phoneNumber']}",
        f"timestamp:{event['timestamp']}",
        *(["needs_review"] if flagged else []),
    ]
    return [
        row_id,
        dataset,
        "nlu",
        event["messageText"],
        event["intent"],
        ",".join(tags),
        str(event["timestamp"]),
        event["eventId"],
        event["intent"],
        str(micros(event["confidence"])),
        "low_confidence" if flagged else "",
        event["phoneNumber"],
        event["channel"],
        "",
        event["currentStep"] or "",
    ]


def _blank() -> Sums:
    return [0, 0, 0, 0, 0, 0, 0, 10**6, 0, [0] * 20, 2**62, 0]


def _add(row: Sums, event: dict[str, Any], *, flagged: bool, late: bool) -> None:
    value, timestamp = micros(event["confidence"]), event["timestamp"]
    row[0] += 1
    row[1] += flagged
    row[2] += flagged
    row[4] += late
    row[5] += value
    row[6] += value * value
    row[7] = min(row[7], value)
    row[8] = max(row[8], value)
    row[9][min(value // 50_000, 19)] += 1
    row[10] = min(row[10], timestamp)
    row[11] = max(row[11], timestamp)


def _read(bootstrap_servers: str, topic: str) -> Iterator[tuple[int, int, bytes]]:
    """Yield partition, Kafka timestamp and value of every record, by partition in log order."""
    settings = {
        "bootstrap.servers": bootstrap_servers,
        "group.id": "bench-recompute",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
    }
    with Consumer(settings) as consumer:
        unfinished = set(consumer.list_topics(topic, 10).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, number, 0) for number in unfinished])
        while unfinished:
            for message in consumer.consume(10_000, 1.0):
                if message.error():
                    unfinished.discard(message.partition())
                else:
                    yield message.partition(), message.timestamp()[1], message.value() or b""
