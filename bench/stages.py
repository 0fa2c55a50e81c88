"""What each stage of the worker costs alone, on the same records, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

from confluent_kafka import Consumer, TopicPartition

from bench import footprint
from bench.ground import Ground
from intentloop_schemas import ReviewRule
from intentloop_schemas import TopicPartition as Partition
from intentloop_sink import PostgresSink
from intentloop_stream.group_commit import GROUP_ENTRIES
from intentloop_stream.interpreter import favour_throughput
from intentloop_stream.processing import Decoder, PartitionBatcher

SAMPLE = 100_000
T = TypeVar("T")


class LogRecord(NamedTuple):
    """A record as the stages take it."""

    offset: int
    timestamp: int
    value: bytes | None
    key: bytes | None


class _Stopwatch:
    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    def time(self, stage: str, call: Callable[[], T]) -> T:
        """Make a call and add the seconds it takes to its stage."""
        started = time.perf_counter()
        result = call()
        self.spent[stage] = self.spent.get(stage, 0.0) + time.perf_counter() - started
        return result


class Measured(NamedTuple):
    """What an event costs."""

    microseconds: dict[str, float]
    """Of each stage."""
    size: dict[str, int]
    """Bytes, by where they lie."""


def measure(ground: Ground, topic: str) -> Measured:
    """Take a sample of a topic through the stages, one after the other."""
    records = _read(ground.bootstrap_servers, topic)
    favour_throughput()
    watch = _Stopwatch()
    with ground.database("bench_stages") as url:
        sink = PostgresSink(url, window_seconds=30, writer="bench")
        decoder = Decoder(ReviewRule(), 30)
        batcher = PartitionBatcher(Partition(topic, "bench", 0), 10, 30_000, records[0].offset)
        for start in range(0, len(records), GROUP_ENTRIES):
            part = records[start : start + GROUP_ENTRIES]
            items = watch.time("decode", partial(decoder.decode, part, batcher.watermark))
            batches = watch.time("batch", partial(batcher.add, items, part[-1].offset + 1, 2**62))
            prepared = watch.time("prepare", partial(sink.prepare, batches))
            watch.time("store", partial(sink.store, prepared))
        sink.close()
        size = footprint.in_kafka(ground, topic) | footprint.in_postgres(url, len(records))
    spent = {stage: round(time / len(records) * 1e6, 2) for stage, time in watch.spent.items()}
    return Measured(spent, size)


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
