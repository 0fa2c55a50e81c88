"""What an event takes on disk, one replica of each."""

from __future__ import annotations

from confluent_kafka import Consumer, TopicPartition

from bench.ground import Ground, query

_TABLES = """
SELECT pg_table_size('"Example"'), pg_indexes_size('"Example"'),
       (SELECT sum(pg_total_relation_size(oid)) FROM pg_class
        WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'Example')
"""


def in_postgres(url: str, events: int) -> dict[str, int]:
    """Return the bytes an event of those that a database holds, by where they lie."""
    (sizes,) = query(url, _TABLES)
    names = ("rows of Example", "its indexes", "all other tables")
    return {name: round(size / events) for name, size in zip(names, sizes, strict=True)}


def in_kafka(ground: Ground, topic: str) -> dict[str, int]:
    """Return the bytes a record, compressed; nothing when the broker's files are elsewhere."""
    folder = ground.folder / "kafka" / "data"
    size = sum(log.stat().st_size for log in folder.glob(f"{topic}-[0-9]*/*.log"))
    return {"Kafka": round(size / _records(ground, topic))} if size else {}


def _records(ground: Ground, topic: str) -> int:
    consumer = Consumer(
        {"bootstrap.servers": ground.bootstrap_servers, "group.id": "bench-footprint"}
    )
    partitions = consumer.list_topics(topic, 10).topics[topic].partitions
    ends = [consumer.get_watermark_offsets(TopicPartition(topic, n), 10)[1] for n in partitions]
    consumer.close()
    return sum(ends)
