"""The worker process as an operator sees it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient

from support import tables
from support.processes import StartWorker
from support.proof import dead_letters, prove_exactly_once
from support.traffic import VALID, Message, hostile_traffic, produce

FAUST = (str(Path(sys.executable).with_name("faust")), "-A", "intentloop_stream", "worker")


def message(event_id: str, **changes: object) -> Message:
    now = int(time.time() * 1000)
    event = {
        "phoneNumber": "+15550100",
        "messageText": "where is my order",
        "intent": "track_order",
        "confidence": 0.95,
        "timestamp": now,
        "eventId": event_id,
        **changes,
    }
    return Message(b"+15550100", json.dumps(event).encode(), now, VALID)


def committed(kafka: Any, topic: str) -> int:
    """Return the sum of the group's offsets in Kafka."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    request = [ConsumerGroupTopicPartitions(f"group-{topic}")]
    answer = admin.list_consumer_group_offsets(request)[f"group-{topic}"].result(10)
    return sum(max(0, partition.offset) for partition in answer.topic_partitions)


def test_on_sigterm_what_is_open_is_written_acknowledged_and_left(
    kafka: Any, conversations: str, database_url: str, start_worker: StartWorker, eventually: Any
) -> None:
    worker = start_worker(BATCH_SECONDS="3600")
    produce(kafka.bootstrap_servers, conversations, (message(f"e-{n}") for n in range(13)))
    eventually(lambda: tables.accounted(database_url) == 10, 60, "the full batch is stored")

    began = time.monotonic()
    assert worker.stop() == 0

    assert time.monotonic() - began < 10
    closed = tables.query(
        database_url, "SELECT closed_by, stored FROM conversation_batch ORDER BY first_position"
    )
    assert closed == [("size", 10), ("shutdown", 3)]
    assert committed(kafka, conversations) == 13


def test_a_worker_that_waits_for_its_turn_to_join_the_group_stops_too(
    kafka: Any, conversations: str, start_worker: StartWorker, eventually: Any
) -> None:
    first = start_worker()
    eventually(lambda: first.says('"event": "assigned"'), 60, "the first has its partitions")
    first.kill()
    second = start_worker()
    eventually(lambda: second.says("Revoking previously"), 60, "the second asks to join")

    began = time.monotonic()
    assert second.stop() == 0
    assert time.monotonic() - began < 10


def test_faust_s_own_command_runs_the_same_worker(
    kafka: Any, conversations: str, database_url: str, start_worker: StartWorker, eventually: Any
) -> None:
    worker = start_worker(command=FAUST)
    produce(kafka.bootstrap_servers, conversations, (message(f"e-{n}") for n in range(10)))
    eventually(lambda: tables.accounted(database_url) == 10, 60, "the batch is stored")

    assert worker.stop() == 0


def test_without_settings_faust_s_command_names_what_is_missing(start_worker: StartWorker) -> None:
    worker = start_worker(command=FAUST, KAFKA_BOOTSTRAP_SERVERS="")

    assert worker.process.wait(60) != 0
    assert worker.says("KAFKA_BOOTSTRAP_SERVERS is not set")


def test_an_old_schema_is_refused_with_what_to_do(
    database_url: str, start_worker: StartWorker
) -> None:
    tables.query(database_url, "DELETE FROM intentloop_version")

    worker = start_worker()

    assert worker.process.wait(60) == 1
    assert worker.says("run `intentloop migrate`")
    assert not worker.says("Traceback")


def test_the_same_event_with_other_content_becomes_a_dead_letter(
    kafka: Any, conversations: str, database_url: str, start_worker: StartWorker, eventually: Any
) -> None:
    first = message("e-1")
    event = json.loads(first.value or b"")
    other = first._replace(value=json.dumps({**event, "messageText": "cancel it"}).encode())
    start_worker(BATCH_SIZE="2")

    produce(kafka.bootstrap_servers, conversations, iter([first, first]))
    eventually(lambda: tables.accounted(database_url) == 2, 60, "first and copy accounted for")
    produce(kafka.bootstrap_servers, conversations, iter([other, message("e-2")]))
    eventually(lambda: tables.accounted(database_url) == 4, 30, "all four accounted for")

    texts = tables.query(database_url, 'SELECT input FROM "Example" WHERE "eventId" = %s', "e-1")
    assert texts == [("where is my order",)]
    letters = dead_letters(kafka.bootstrap_servers, f"{conversations}.dlq")
    assert list(letters.values()) == [(b"conflicting_duplicate", other.value)]


def test_poison_of_a_megabyte_reaches_the_dead_letters_whole(
    kafka: Any, conversations: str, database_url: str, start_worker: StartWorker, eventually: Any
) -> None:
    poison = message("e-1")._replace(value=b"x" * 1_000_000)
    start_worker(BATCH_SIZE="1")

    produce(kafka.bootstrap_servers, conversations, iter([poison, message("e-2")]))

    eventually(lambda: tables.accounted(database_url) == 2, 60, "both accounted for")
    letters = dead_letters(kafka.bootstrap_servers, f"{conversations}.dlq")
    assert list(letters.values()) == [(b"invalid_json", poison.value)]


@contextmanager
def database_away(url: str) -> Iterator[None]:
    """A database that refuses new sessions and has ended the old ones."""
    server, name = url.rsplit("/", 1)
    tables.query(f"{server}/postgres", f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    tables.query(f"{server}/postgres", end, name)
    yield
    tables.query(f"{server}/postgres", f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def test_while_the_database_is_away_files_take_over_and_are_replayed(
    kafka: Any, conversations: str, database_url: str, start_worker: StartWorker, eventually: Any
) -> None:
    servers = kafka.bootstrap_servers
    worker = start_worker()
    traffic = list(hostile_traffic(3_000, 5, int(time.time() * 1000) - 600_000))
    produced = produce(servers, conversations, iter(traffic[:1_000]))
    eventually(lambda: tables.accounted(database_url) == produced, 60, "the first are stored")

    with database_away(database_url):
        produced += produce(servers, conversations, iter(traffic[1_000:2_000]))
        eventually(lambda: committed(kafka, conversations) == produced, 60, "all is acknowledged")
    produced += produce(servers, conversations, iter(traffic[2_000:]))
    eventually(lambda: tables.accounted(database_url) == produced, 30, "all is stored")

    assert worker.stop() == 0
    prove_exactly_once(servers, conversations, database_url)
    sources = tables.query(database_url, "SELECT DISTINCT source FROM conversation_batch")
    assert sorted(sources) == [("kafka",), ("replay",)]
    assert worker.spooled() == []


def test_what_a_dead_worker_spooled_is_replayed_by_another(
    kafka: Any, conversations: str, database_url: str, start_worker: StartWorker, eventually: Any
) -> None:
    servers = kafka.bootstrap_servers
    worker = start_worker()
    traffic = list(hostile_traffic(2_000, 6, int(time.time() * 1000) - 600_000))
    produced = produce(servers, conversations, iter(traffic[:1_000]))
    eventually(lambda: tables.accounted(database_url) == produced, 60, "the first are stored")

    with database_away(database_url):
        produced += produce(servers, conversations, iter(traffic[1_000:]))
        eventually(lambda: committed(kafka, conversations) == produced, 60, "all is acknowledged")
        worker.kill()
    another = start_worker()
    eventually(lambda: tables.accounted(database_url) == produced, 60, "all is stored")
    eventually(lambda: another.spooled() == [], 10, "the files are gone")

    assert another.stop() == 0
    prove_exactly_once(servers, conversations, database_url)
