"""What the tables must hold, recomputed from the raw log with nothing of the project's own code."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from math import floor
from typing import Any, NamedTuple

from confluent_kafka import Consumer, TopicPartition

from support.traffic import EXPECT, VALID

FALLBACKS = {"nlu_fallback", "out_of_scope"}
THRESHOLD = 0.7
MARGIN = 0.1


@dataclass
class LogRecord:
    partition: int
    offset: int
    timestamp: int
    value: bytes | None
    expect: bytes


class Range(NamedTuple):
    """Positions of a partition."""

    partition: int
    first_position: int
    next_position: int

    def holds(self, record: LogRecord) -> bool:
        """Tell whether a record stands there."""
        return (
            record.partition == self.partition
            and self.first_position <= record.offset < self.next_position
        )


@dataclass
class Expected:
    """Rows by id, statistics by key, dead letters by place."""

    examples: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    windows: dict[tuple[Any, ...], list[Any]] = field(default_factory=dict)
    hours: dict[tuple[Any, ...], list[Any]] = field(default_factory=dict)
    dead: dict[tuple[int, int], tuple[bytes, bytes | None]] = field(default_factory=dict)
    total: int = 0
    duplicates: int = 0


def read_log(bootstrap_servers: str, topic: str) -> list[LogRecord]:
    """Read all committed records of a topic, partition by partition in offset order."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "recompute",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    partitions = list(consumer.list_topics(topic, 10).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    records, unfinished = [], set(partitions)
    while unfinished:
        for message in consumer.consume(5_000, 1.0):
            if message.error():
                unfinished.discard(message.partition())
                continue
            expect = dict(message.headers() or []).get(EXPECT, VALID)
            records.append(
                LogRecord(
                    message.partition(),
                    message.offset(),
                    message.timestamp()[1],
                    message.value(),
                    expect,
                )
            )
    consumer.close()
    return sorted(records, key=lambda record: (record.partition, record.offset))


def recompute(
    records: list[LogRecord], window_seconds: int = 30, behind: Sequence[Range] = ()
) -> Expected:
    """Return what must come of a log, in order, that was processed exactly once.

    What lies in a range of `behind` was missing in its turn and came after all the rest: it was
    judged in its place, and moved on the watermark of nothing else.
    """
    expected = Expected(total=len(records))
    for record in records:
        if record.expect != VALID:
            expected.dead[record.partition, record.offset] = (record.expect, record.value)
    judged = list(_judged(records, window_seconds, behind))
    for one in sorted(judged, key=lambda one: one.came_behind):
        _count(expected, one.event, one.late, window_seconds)
    return expected


class _Judged(NamedTuple):
    event: dict[str, Any]
    late: bool
    came_behind: bool


def _judged(
    records: list[LogRecord], window_seconds: int, behind: Sequence[Range]
) -> Iterator[_Judged]:
    in_turn: dict[int, int] = defaultdict(int)
    aside: dict[int, int] = defaultdict(int)
    length = window_seconds * 1000
    for record in records:
        if record.expect != VALID:
            continue
        event = json.loads(record.value or b"")
        timestamp, partition = event["timestamp"], record.partition
        came_behind = any(one.holds(record) for one in behind)
        highest = aside if came_behind else in_turn
        end = timestamp // length * length + length
        late = end <= max(in_turn[partition], highest[partition]) - 5_000
        if timestamp <= record.timestamp + 60_000:
            highest[partition] = max(highest[partition], timestamp)
        yield _Judged(event, late, came_behind)


def _count(expected: Expected, event: dict[str, Any], late: bool, window_seconds: int) -> None:
    dataset = event.get("datasetId", "ds-auto-training")
    row_id = _row_id(event, dataset)
    if row_id in expected.examples:
        expected.duplicates += 1
        return
    reasons = _reasons(event)
    expected.examples[row_id] = (
        dataset,
        "nlu",
        event["messageText"],
        event["intent"],
        _tags(event, bool(reasons)),
        datetime.fromtimestamp(event["timestamp"] // 1000, UTC).replace(
            microsecond=event["timestamp"] % 1000 * 1000
        ),
    )
    for rows, seconds in ((expected.windows, window_seconds), (expected.hours, 3600)):
        _add(rows, _key(event, dataset, seconds), event, reasons, late)


def _row_id(event: dict[str, Any], dataset: str) -> str:
    event_id = event.get("eventId")
    if event_id is None:
        fields = ("phoneNumber", "messageText", "intent", "confidence", "currentStep", "timestamp")
        seed = {name: event.get(name) for name in fields}
        seed["confidence"] = float(seed["confidence"])
        text = json.dumps(seed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        event_id = "d1-" + sha256(text.encode()).hexdigest()
    digest = sha256(f"{dataset}\n{event_id}".encode()).hexdigest()
    return f"ex-{event['timestamp'] // 1000}-{digest[:16]}"


def _reasons(event: dict[str, Any]) -> set[str]:
    reasons = set()
    if event["confidence"] < THRESHOLD:
        reasons.add("low")
    if event["intent"] in FALLBACKS:
        reasons.add("fallback")
    others = [
        a["confidence"] for a in event.get("alternatives", []) if a["intent"] != event["intent"]
    ]
    if others and _micros(event["confidence"]) - _micros(max(others)) < _micros(MARGIN):
        reasons.add("margin")
    return reasons


def _tags(event: dict[str, Any], flagged: bool) -> list[str]:
    tags = [
        f"confidence:{floor(100 * event['confidence'] + 0.5)}",
        f"source:{event['phoneNumber']}",
        f"timestamp:{event['timestamp']}",
    ]
    return sorted([*tags, "needs_review"] if flagged else tags)


def _key(event: dict[str, Any], dataset: str, seconds: int) -> tuple[Any, ...]:
    start = datetime.fromtimestamp(event["timestamp"] // 1000 // seconds * seconds, UTC)
    return (
        dataset,
        event["intent"],
        event.get("channel", "whatsapp"),
        event.get("modelVersion", ""),
        start,
        seconds,
    )


def _add(
    rows: dict[tuple[Any, ...], list[Any]],
    key: tuple[Any, ...],
    event: dict[str, Any],
    reasons: set[str],
    late: bool,
) -> None:
    micros = _micros(event["confidence"])
    row = rows.setdefault(key, [0, 0, 0, 0, 0, 0, 0, 10**6, 0, [0] * 20])
    row[0] += 1
    row[1] += bool(reasons)
    row[2] += "low" in reasons
    row[3] += "fallback" in reasons
    row[4] += late
    row[5] += micros
    row[6] += micros**2
    row[7] = min(row[7], micros)
    row[8] = max(row[8], micros)
    row[9][min(micros // 50_000, 19)] += 1


def _micros(confidence: float) -> int:
    return floor(1e6 * confidence + 0.5)
