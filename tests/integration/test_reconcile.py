"""`intentloop doctor --reconcile` on a real log, store and spool."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner, Result

from intentloop_cli.app import app
from intentloop_cli.reconcile import Account, reconcile
from intentloop_schemas import TopicPartition
from intentloop_schemas.kafka import KafkaSettings
from intentloop_sink.spool import Spool
from intentloop_stream.topics import topic_ids
from support import tables
from support.batches import batch, entry
from support.processes import StartWorker
from support.traffic import hostile_traffic, produce

RECORDS = 400


@pytest.fixture
def fallback(tmp_path: Path) -> Path:
    return tmp_path / "fallback"


@pytest.fixture
def accounts(
    kafka: Any, conversations: str, database_url: str, fallback: Path
) -> Callable[[], list[Account]]:
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers)
    return lambda: reconcile(settings, database_url, fallback, conversations)


@pytest.fixture
def doctor(
    kafka: Any, conversations: str, database_url: str, fallback: Path
) -> Callable[[], Result]:
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "DATABASE_URL": database_url,
        "INTENTLOOP_TOPIC": conversations,
        "FALLBACK_DIR": str(fallback),
    }
    return lambda: CliRunner(env=environment).invoke(app, ["doctor", "--reconcile"])


@pytest.fixture
def stored(
    kafka: Any, conversations: str, database_url: str, start_worker: StartWorker, eventually: Any
) -> int:
    """Store hostile traffic and stop the worker; the number of records."""
    worker = start_worker(BATCH_SECONDS="1")
    start = int(time.time() * 1000) - 600_000
    produced = produce(kafka.bootstrap_servers, conversations, hostile_traffic(RECORDS, 3, start))
    produce_in_transaction(kafka.bootstrap_servers, conversations)
    everything = produced + len(b"abc")
    eventually(lambda: tables.accounted(database_url) == everything, 90, "all is stored")
    assert worker.stop() == 0
    return everything


def produce_in_transaction(servers: str, topic: str) -> None:
    """Leave holes: three records, then one that counts for nobody, and the marks of both."""
    producer = Producer({"bootstrap.servers": servers, "transactional.id": topic})
    producer.init_transactions(30)
    for values, end in ((b"abc", producer.commit_transaction), (b"d", producer.abort_transaction)):
        producer.begin_transaction()
        for value in values:
            producer.produce(topic, bytes([value]), partition=0)
        producer.flush(10)
        end(30)


def test_a_stored_log_adds_up(
    stored: int, accounts: Callable[[], list[Account]], doctor: Callable[[], Result]
) -> None:
    found = accounts()
    assert [one.problems for one in found] == [()] * 4
    assert sum(one.stored + one.duplicates + one.rejected for one in found) == stored

    result = doctor()
    assert result.exit_code == 0, result.output
    assert "Reconciliation" in result.output


def test_a_range_that_is_gone_from_the_store_is_told(
    stored: int, database_url: str, doctor: Callable[[], Result]
) -> None:
    tables.query(
        database_url,
        "DELETE FROM conversation_batch WHERE partition = 2 AND first_position = "
        "(SELECT max(first_position) FROM conversation_batch WHERE partition = 2)",
    )
    result = doctor()
    assert result.exit_code == 1
    assert "partition 2: ranges are missing or overlap at 1 places" in result.output


def test_a_record_that_was_left_out_is_no_hole(
    stored: int, database_url: str, doctor: Callable[[], Result]
) -> None:
    tables.query(
        database_url,
        "UPDATE conversation_batch SET stored = stored - 1 WHERE partition = 1 AND stored > 0",
    )
    result = doctor()
    assert result.exit_code == 1
    assert "are accounted for" in result.output


def test_what_waits_is_open_or_spooled(
    kafka: Any,
    conversations: str,
    database_url: str,
    fallback: Path,
    accounts: Callable[[], list[Account]],
) -> None:
    start = int(time.time() * 1000) - 600_000
    produced = produce(kafka.bootstrap_servers, conversations, hostile_traffic(RECORDS, 4, start))
    assert sum(one.open for one in accounts()) == produced

    held = [one for one in accounts() if one.partition == 0]
    place = next(p for p in topic_partitions(kafka, conversations) if p.partition == 0)
    with Spool(fallback, "w") as spool:
        spool.append([batch([entry(n) for n in range(10)], partition=place)])
        (spooled,) = [one for one in accounts() if one.partition == 0]
    assert (spooled.spooled, spooled.open) == (10, held[0].open - 10)
    assert spooled.problems == ()

    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    cut = [KafkaPartition(conversations, 0, 12)]
    for future in admin.delete_records(cut).values():
        future.result(20)
    (gone,) = [one for one in accounts() if one.partition == 0]
    assert "deleted 2 positions" in gone.problems[0]


def topic_partitions(kafka: Any, topic: str) -> list[Any]:
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers)
    return [TopicPartition(topic, topic_ids(settings, [topic])[topic], n) for n in range(4)]
