"""Proves that a log was processed exactly once: tables and dead letters against a recomputation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from support import recompute, tables

PATIENCE = 240.0


def prove_exactly_once(bootstrap_servers: str, topic: str, url: str) -> recompute.Expected:
    """Fail with the first differences unless every row, sum and dead letter is as it must be."""
    expected = recompute.recompute(recompute.read_log(bootstrap_servers, topic))

    assert tables.untiled(url) == []
    assert differences(tables.examples(url), expected.examples) == []
    windows = tables.statistics(url, "intent_window_stats")
    assert differences(windows, expected.windows) == []
    hours = tables.statistics(url, "intent_hourly_stats")
    assert differences(hours, expected.hours) == []
    letters = dead_letters(bootstrap_servers, f"{topic}.dlq")
    assert differences(letters, expected.dead) == []
    stored, duplicates, rejected = totals(url)
    assert stored == len(expected.examples)
    assert rejected == len(expected.dead)
    assert duplicates == expected.duplicates
    assert stored + duplicates + rejected == expected.records.total()
    return expected


def totals(url: str) -> tuple[int, int, int]:
    """Return stored, duplicates and rejected over all partitions."""
    sql = "SELECT sum(stored), sum(duplicates), sum(rejected) FROM conversation_batch"
    stored, duplicates, rejected = tables.query(url, sql)[0]
    return int(stored), int(duplicates), int(rejected)


def differences(actual: Mapping[Any, Any], expected: Mapping[Any, Any]) -> list[str]:
    """Describe the first few keys whose values differ."""
    keys = [key for key in {**actual, **expected} if actual.get(key) != expected.get(key)]
    return [f"{key}: {actual.get(key)} instead of {expected.get(key)}" for key in keys[:5]]


def dead_letters(
    bootstrap_servers: str, topic: str
) -> dict[tuple[int, int], tuple[bytes, bytes | None]]:
    """Return reason and original value of every dead letter by its original place."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "dead-letters",
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    letters: dict[tuple[int, int], tuple[bytes, bytes | None]] = {}
    while True:
        message = consumer.poll(10)
        assert message is not None, f"{topic} gave neither a record nor its end in 10 s"
        if message.error():
            consumer.close()
            return letters
        headers = dict(message.headers())
        place = int(headers["dlq.partition"]), int(headers["dlq.offset"])
        letters[place] = headers["dlq.reason"], message.value()
