"""What each stage costs alone, on the same records, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from confluent_kafka import Consumer, TopicPartition

from bench import raw_copy
from intentloop_schemas import ReviewRule
from intentloop_schemas import TopicPartition as Partition
from intentloop_sink import PostgresSink, migrate
from intentloop_stream.processing import Decoder, PartitionBatcher

SAMPLE = 100_000
GROUP = 10_000
T = TypeVar("T")


class LogRecord(NamedTuple):
    """A record as the stages take it."""

    offset: int
    timestamp: int
    value: bytes | None
    key: bytes | None


def measure(bootstrap_servers: str, topic: str, server_url: str) -> dict[str, float]:
    """Return the seconds an event costs in each stage."""
    records = _read(bootstrap_servers, topic)
    url = raw_copy.new_database(server_url, "bench_stages")
    migrate(url)
    sink = PostgresSink(url, window_seconds=30, writer="bench")
    decoder = Decoder(ReviewRule(), 30)
    batcher = PartitionBatcher(Partition(topic, "bench", 0), 10, 30_000, records[0].offset)
    spent = dict.fromkeys(("decode", "batch", "prepare", "store"), 0.0)

    def timed(stage: str, call: Callable[[], T]) -> T:
        started = time.perf_counter()
        result = call()
        spent[stage] += time.perf_counter() - started
        return result

    for start in range(0, len(records), GROUP):
        part = records[start : start + GROUP]
        items = timed("decode", lambda part=part: decoder.decode(part, batcher.watermark))
        after = part[-1].offset + 1
        batches = timed("batch", lambda items=items, after=after: batcher.add(items, after, 2**62))
        prepared = timed("prepare", lambda batches=batches: sink.prepare(batches))
        timed("store", lambda prepared=prepared: sink.store(prepared))
    sink.close()
    raw_copy.drop_database(server_url, url)
    return {stage: seconds / len(records) for stage, seconds in spent.items()}


def _read(bootstrap_servers: str, topic: str) -> list[LogRecord]:
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "bench-stages"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    records: list[LogRecord] = []
    while len(records) < SAMPLE:
        messages = consumer.consume(10_000, 2.0)
        if not messages:
            break
        records += [LogRecord(m.offset(), m.timestamp()[1], m.value(), m.key()) for m in messages]
    consumer.close()
    return records
