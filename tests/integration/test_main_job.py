"""The main job on real Kafka and Postgres: every valid event exactly once, to the last integer."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from support import tables
from support.processes import StartWorker
from support.proof import PATIENCE, prove_exactly_once, totals
from support.traffic import VALID, hostile_traffic, produce, send

BITEXT = Path(__file__).parents[2].parent / "shared/data/bitext/train.csv"
BACKLOG = 100_000
SEED = 20_261_123


def an_hour_ago() -> int:
    return int(time.time() * 1000) - 3_600_000


def wait_until_accounted(eventually: Any, url: str, produced: int) -> None:
    eventually(
        lambda: tables.accounted(url) >= produced,
        timeout=PATIENCE,
        message=f"{produced} records accounted for",
    )


def test_a_hostile_backlog_is_stored_exactly_once_and_a_replay_changes_nothing(
    kafka: Any, conversations: str, database_url: str, start_worker: StartWorker, eventually: Any
) -> None:
    servers = kafka.bootstrap_servers
    produced = produce(servers, conversations, hostile_traffic(BACKLOG, SEED, an_hour_ago()))

    worker = start_worker()
    wait_until_accounted(eventually, database_url, produced)
    assert worker.stop() == 0

    expected = prove_exactly_once(servers, conversations, database_url)
    assert expected.duplicates > BACKLOG * 0.015
    assert len(expected.dead) > BACKLOG * 0.008

    before = contents(database_url)
    move_group(servers, conversations, 0)
    forget_progress(database_url)
    again = start_worker()
    wait_until_accounted(eventually, database_url, produced)
    assert again.stop() == 0
    assert contents(database_url) == before
    assert totals(database_url) == (0, produced - len(expected.dead), len(expected.dead))


def test_a_rewound_consumer_group_reads_nothing_twice(
    kafka: Any, conversations: str, database_url: str, start_worker: StartWorker, eventually: Any
) -> None:
    servers = kafka.bootstrap_servers
    produced = produce(servers, conversations, hostile_traffic(1_000, SEED, an_hour_ago()))
    worker = start_worker()
    wait_until_accounted(eventually, database_url, produced)
    assert worker.stop() == 0
    before = contents(database_url), tables.query(database_url, RANGES)

    move_group(servers, conversations, 0)
    again = start_worker()
    eventually(lambda: again.says("Worker ready"), timeout=60, message="no assignment")
    assert again.stop() == 0

    assert (contents(database_url), tables.query(database_url, RANGES)) == before


def test_three_workers_come_and_go_and_one_is_killed(
    kafka: Any, conversations: str, database_url: str, start_worker: StartWorker, eventually: Any
) -> None:
    servers = kafka.bootstrap_servers
    produced = produce(servers, conversations, hostile_traffic(BACKLOG, SEED + 2, an_hour_ago()))

    def past(share: float) -> None:
        eventually(
            lambda: tables.accounted(database_url) >= produced * share,
            timeout=PATIENCE,
            message=f"{share:.0%} of {produced} records accounted for",
        )

    first = start_worker()
    past(0.05)
    second = start_worker()
    past(0.2)
    first.kill()
    third = start_worker()
    past(0.5)
    assert second.stop() == 0
    past(1)
    assert third.stop() == 0

    prove_exactly_once(servers, conversations, database_url)


def test_holes_in_the_offsets_and_aborted_transactions(
    kafka: Any, conversations: str, database_url: str, start_worker: StartWorker, eventually: Any
) -> None:
    servers = kafka.bootstrap_servers
    worker = start_worker()
    produced = produce_in_transactions(servers, conversations, commits=200)
    wait_until_accounted(eventually, database_url, produced)
    assert worker.stop() == 0

    expected = prove_exactly_once(servers, conversations, database_url)
    assert expected.total == produced


def produce_in_transactions(servers: str, conversations: str, commits: int) -> int:
    """Produce small transactions, abort every fifth; return how many records were committed."""
    producer = Producer({"bootstrap.servers": servers, "transactional.id": conversations})
    producer.init_transactions(30)
    messages = list(hostile_traffic(commits * 7, SEED + 3, an_hour_ago()))
    committed = 0
    for number in range(commits):
        part = messages[number * 7 : number * 7 + 7]
        producer.begin_transaction()
        for message in part:
            send(producer, conversations, message)
        # What is aborted must have reached the log before.
        producer.flush(30)
        if number % 5 == 4:
            producer.abort_transaction(30)
        else:
            producer.commit_transaction(30)
            committed += len(part)
    return committed


@pytest.mark.parametrize(("batch_seconds", "events"), [(4, 2), (30, 1)])
def test_a_batch_is_stored_at_its_age_though_it_is_not_full(
    kafka: Any,
    conversations: str,
    database_url: str,
    start_worker: StartWorker,
    eventually: Any,
    batch_seconds: int,
    events: int,
) -> None:
    worker = start_worker(BATCH_SECONDS=str(batch_seconds))
    traffic = hostile_traffic(1_000, SEED + 4, an_hour_ago())
    alone = next(message for message in traffic if message.expect == VALID)
    eventually(lambda: worker.says('"event": "assigned"'), 60, "the worker has its partitions")

    for number in range(1, events + 1):
        sent = time.time()
        message = alone._replace(timestamp=int(sent * 1000))
        produce(kafka.bootstrap_servers, conversations, iter([message]))
        eventually(
            lambda number=number: tables.accounted(database_url) == number,
            timeout=batch_seconds + 10,
            message="the record is accounted for",
        )
        assert time.time() - sent <= batch_seconds


@pytest.mark.skipif(not BITEXT.is_file(), reason=f"{BITEXT.parent} is not there")
def test_real_utterances_are_stored_exactly_once(
    kafka: Any, conversations: str, database_url: str, start_worker: StartWorker, eventually: Any
) -> None:
    with BITEXT.open(encoding="utf-8") as stream:
        texts = [tuple(row.values())[:2] for row in csv.DictReader(stream)]
    servers = kafka.bootstrap_servers
    traffic = hostile_traffic(20_000, SEED + 5, an_hour_ago(), texts)
    produced = produce(servers, conversations, traffic)

    worker = start_worker()
    wait_until_accounted(eventually, database_url, produced)
    assert worker.stop() == 0

    prove_exactly_once(servers, conversations, database_url)


RANGES = "SELECT topic_id, partition, first_position, next_position FROM conversation_batch"


def contents(url: str) -> tuple[Any, ...]:
    return (
        tables.examples(url),
        tables.statistics(url, "intent_window_stats"),
        tables.statistics(url, "intent_hourly_stats"),
    )


def test_a_consumer_group_moved_forward_skips_nothing(
    kafka: Any, conversations: str, database_url: str, start_worker: StartWorker, eventually: Any
) -> None:
    servers = kafka.bootstrap_servers
    produced = produce(servers, conversations, hostile_traffic(1_000, SEED, an_hour_ago()))
    move_group(servers, conversations, 200)

    worker = start_worker()
    wait_until_accounted(eventually, database_url, produced)
    assert worker.stop() == 0

    prove_exactly_once(servers, conversations, database_url)


def forget_progress(url: str) -> None:
    tables.query(url, "DELETE FROM ingest_offset")
    tables.query(url, "DELETE FROM conversation_batch")


def move_group(bootstrap_servers: str, conversations: str, offset: int) -> None:
    """Set the group's offsets by hand, as an operator may."""
    group = f"group-{conversations}"
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    offsets = [TopicPartition(conversations, partition, offset) for partition in range(4)]
    request = [ConsumerGroupTopicPartitions(group, offsets)]
    admin.alter_consumer_group_offsets(request)[group].result(10)
