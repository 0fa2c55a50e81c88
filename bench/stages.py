"""What each stage of the worker costs alone, on the same records, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from confluent_kafka import Consumer, TopicPartition

from bench.ground import Ground
from intentloop_schemas import ReviewRule
from intentloop_schemas import TopicPartition as Partition
from intentloop_sink import PostgresSink
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


def measure(ground: Ground, topic: str) -> dict[str, float]:
    """Return the microseconds an event costs in each stage."""
    records = _read(ground.bootstrap_servers, topic)
    spent = dict.fromkeys(("decode", "batch", "prepare", "store"), 0.0)
    with ground.database("bench_stages") as url:
        sink = PostgresSink(url, window_seconds=30, writer="bench")
        decoder = Decoder(ReviewRule(), 30)
        batcher = PartitionBatcher(Partition(topic, "bench", 0), 10, 30_000, records[0].offset)

        def timed(stage: str, call: Callable[[], T]) -> T:
            started = time.perf_counter()
            result = call()
            spent[stage] += time.perf_counter() - started
            return result

        for start in range(0, len(records), GROUP):
            part = records[start : start + GROUP]
            items = timed("decode", lambda part=part: decoder.decode(part, batcher.watermark))
            after = part[-1].offset + 1
            batches = timed(
                "batch", lambda items=items, after=after: batcher.add(items, after, 2**62)
            )
            prepared = timed("prepare", lambda batches=batches: sink.prepare(batches))
            timed("store", lambda prepared=prepared: sink.store(prepared))
        sink.close()
    return {stage: round(seconds / len(records) * 1e6, 2) for stage, seconds in spent.items()}


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
