"""What a careful engineer would write in an afternoon: confluent-kafka, msgspec, COPY.

One thread reads and prepares; two threads write, each with a connection of its own and half of the
partitions. Rows, sums and offsets are one transaction, so nothing is lost or counted twice.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import psycopg2
from confluent_kafka import Consumer, Message, TopicPartition

from bench.peers import rows

WRITERS = 2
RECORDS = 20_000
_GROUPS_WAITING = 2
_OFFSETS = "CREATE TABLE IF NOT EXISTS bench_offset (partition integer PRIMARY KEY, next bigint)"
_SAVE = """
INSERT INTO bench_offset VALUES (%s, %s) ON CONFLICT (partition) DO UPDATE SET next = excluded.next
"""
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Group(NamedTuple):
    """What one transaction writes."""

    lines: Sequence[str]
    windows: dict[rows.Key, rows.Sums]
    offsets: dict[int, int]


def main() -> None:
    """Read until told to end."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    url = os.environ["DATABASE_URL"]
    known = _offsets(url)
    queues: list[queue.Queue[Group | None]] = [queue.Queue(_GROUPS_WAITING) for _ in range(WRITERS)]
    writers = [threading.Thread(target=_write, args=(url, waiting)) for waiting in queues]
    for writer in writers:
        writer.start()
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"],
            "group.id": os.environ["INTENTLOOP_GROUP"],
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.max.bytes": 16 << 20,
            "queued.max.messages.kbytes": 64 << 10,
        }
    )
    consumer.subscribe([os.environ["INTENTLOOP_TOPIC"]], on_assign=lambda c, p: _seek(c, p, known))
    while not stop.is_set():
        for index, group in _groups(consumer.consume(RECORDS, 0.5)).items():
            queues[index].put(group)
    for waiting in queues:
        waiting.put(None)
    for writer in writers:
        writer.join()
    consumer.close()


def _offsets(url: str) -> dict[int, int]:
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(_OFFSETS)
        cursor.execute("SELECT partition, next FROM bench_offset")
        return dict(cursor.fetchall())


def _seek(consumer: Consumer, partitions: list[TopicPartition], known: dict[int, int]) -> None:
    for partition in partitions:
        partition.offset = known.get(partition.partition, partition.offset)
    consumer.assign(partitions)
    rows.say_ready()


def _groups(messages: list[Message]) -> dict[int, Group]:
    """Decode and prepare; return what each writer has to do."""
    events: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    offsets: defaultdict[int, dict[int, int]] = defaultdict(dict)
    for message in messages:
        if message.error():
            raise RuntimeError(message.error())
        writer = message.partition() % WRITERS
        events[writer].append(_decode(message.value() or b""))
        offsets[writer][message.partition()] = message.offset() + 1
    return {
        writer: Group(list(map(rows.line, part)), rows.add_up(part), offsets[writer])
        for writer, part in events.items()
    }


def _write(url: str, waiting: queue.Queue[Group | None]) -> None:
    connection = psycopg2.connect(url)
    while group := waiting.get():
        with connection, connection.cursor() as cursor:
            rows.write(cursor, group.lines, group.windows)
            for partition, offset in group.offsets.items():
                cursor.execute(_SAVE, (partition, offset))
    connection.close()


if __name__ == "__main__":
    main()
