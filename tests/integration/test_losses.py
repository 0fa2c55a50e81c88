"""Records that Kafka deleted before anybody read them are recorded as lost, range by range."""

from __future__ import annotations

import time
from typing import Any

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from support import tables
from support.processes import StartWorker
from support.traffic import hostile_traffic, produce

LOSSES = "SELECT partition, first_position, next_position FROM ingest_loss ORDER BY partition"
LINES = "SELECT partition, next_position FROM ingest_offset ORDER BY partition"


def delete_records(kafka: Any, topic: str, before: dict[int, int]) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    offsets = [TopicPartition(topic, partition, offset) for partition, offset in before.items()]
    for future in admin.delete_records(offsets).values():
        future.result(10)


def test_what_retention_deleted_unread_is_a_recorded_loss_and_the_rest_is_stored(
    kafka: Any, conversations: str, database_url: str, start_worker: StartWorker, eventually: Any
) -> None:
    start = int(time.time() * 1000) - 3_600_000
    servers = kafka.bootstrap_servers
    produced = produce(servers, conversations, hostile_traffic(400, 1, start))
    worker = start_worker()
    eventually(lambda: tables.accounted(database_url) == produced, 60, "the first are stored")
    assert worker.stop() == 0
    positions = dict(tables.query(database_url, LINES))

    produced += produce(servers, conversations, hostile_traffic(2_000, 2, start))
    delete_records(kafka, conversations, {p: at + 100 for p, at in positions.items()})
    again = start_worker()
    left = produced - 100 * len(positions)
    eventually(lambda: tables.accounted(database_url) >= left, 60, "what is left is stored")
    assert again.stop() == 0

    assert tables.accounted(database_url) == left
    assert tables.query(database_url, LOSSES) == [(p, at, at + 100) for p, at in positions.items()]
    assert tables.query(database_url, "SELECT * FROM conversation_batch_gaps") == []
    assert again.says("records_lost")
