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

    require_same("gaps", dict(enumerate(tables.untiled(url))), {})
    require_same("examples", tables.examples(url), expected.examples)
    require_same("windows", tables.statistics(url, "intent_window_stats"), expected.windows)
    require_same("hours", tables.statistics(url, "intent_hourly_stats"), expected.hours)
    letters = dead_letters(bootstrap_servers, f"{topic}.dlq")
    require_same("dead letters", letters, expected.dead)
    stored, duplicates, rejected = totals(url)
    counted = {"stored": stored, "duplicates": duplicates, "rejected": rejected}
    wanted = {
        "stored": len(expected.examples),
        "duplicates": expected.duplicates,
        "rejected": len(expected.dead),
    }
    require_same("totals", counted, wanted)
    require_same("produced", {"records": sum(counted.values())}, {"records": expected.total})
    return expected


def totals(url: str) -> tuple[int, int, int]:
    """Return stored, duplicates and rejected over all partitions."""
    sql = "SELECT sum(stored), sum(duplicates), sum(rejected) FROM conversation_batch"
    stored, duplicates, rejected = tables.query(url, sql)[0]
    return int(stored), int(duplicates), int(rejected)


def require_same(what: str, actual: Mapping[Any, Any], expected: Mapping[Any, Any]) -> None:
    """Raise AssertionError that shows the first few keys whose values differ."""
    keys = [key for key in {**actual, **expected} if actual.get(key) != expected.get(key)]
    if keys:
        shown = [f"{key}: {actual.get(key)} instead of {expected.get(key)}" for key in keys[:5]]
        raise AssertionError("\n  ".join([f"{len(keys)} {what} differ:", *shown]))


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
