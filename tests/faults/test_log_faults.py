"""A log that changes under the worker: moved offsets, another life, more partitions, silence."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from intentloop_devstack import KafkaServer
from support import tables
from support.scene import Scene, end_sessions
from support.traffic import Message, hostile_traffic, unrepeated

pytestmark = pytest.mark.fault
IDLE_SECONDS = 10.0
"""How long the silence lasts: longer than a session. Nothing is waited for."""


@pytest.fixture
def admin(kafka: KafkaServer) -> AdminClient:
    return AdminClient({"bootstrap.servers": kafka.bootstrap_servers})


def settled(futures: dict[Any, Any]) -> None:
    for future in futures.values():
        future.result(20)


@pytest.mark.slow_fault
@pytest.mark.parametrize(
    "offset",
    [pytest.param(0, id="backward"), pytest.param(10_000_000, id="forward")],
)
def test_offsets_moved_by_hand(scene: Scene, admin: AdminClient, offset: int) -> None:
    worker = scene.start_worker()
    scene.traffic()
    scene.flows(500)
    assert worker.stop() == 0

    group = f"group-{scene.topic}"
    moved = [TopicPartition(scene.topic, number, offset) for number in range(4)]
    settled(admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, moved)]))
    scene.start_worker()

    scene.recovers()
    scene.ends_well()


@pytest.mark.slow_fault
@pytest.mark.parametrize("state", ["stopped", "running", "unaware"])
def test_topic_recreated(scene: Scene, admin: AdminClient, state: str) -> None:
    """`unaware`: so fast that the worker may not see that the topic was gone."""
    worker = scene.start_worker()
    scene.traffic(itertools.islice(scene.hostile(), 600)).finish()
    scene.eventually(lambda: scene.stored() == scene.history.accepted, 20, "the first life")
    if state == "stopped":
        assert worker.stop() == 0

    settled(admin.delete_topics([scene.topic]))
    if state != "unaware":
        scene.eventually(lambda: scene.topic not in admin.list_topics(timeout=5).topics, 10)
    create_again(scene, admin)
    ended = time.monotonic()
    if state == "stopped":
        scene.start_worker()
    scene.seed += 1
    second = scene.traffic(itertools.islice(scene.hostile(), 1_200), life=1)
    scene.takes_again()

    scene.recovers(since=ended)
    second.finish()
    scene.ends_well()


def create_again(scene: Scene, admin: AdminClient) -> None:
    """Create the topic as soon as the broker has let go of the old one."""

    def created() -> bool:
        try:
            settled(admin.create_topics([NewTopic(scene.topic, 4, 1)]))
        except KafkaException:
            return False
        return True

    scene.eventually(created, 10, "the topic is there again")


@pytest.mark.slow_fault
def test_partitions_added_while_running(scene: Scene, admin: AdminClient) -> None:
    scene.start_worker()
    scene.traffic(unrepeated(scene.hostile()))
    scene.flows()

    settled(admin.create_partitions([NewPartitions(scene.topic, 8)]))
    added = time.monotonic()
    new = "SELECT 1 FROM ingest_offset WHERE partition >= 4 AND next_position > 0"
    scene.eventually(lambda: tables.query(scene.url, new), 30, "the new partitions are read")
    scene.figure("noticed_seconds", round(time.monotonic() - added, 2))

    scene.recovers()
    scene.ends_well()


@pytest.mark.slow_fault
def test_an_idle_spell_with_a_cut_connection(scene: Scene) -> None:
    worker = scene.start_worker()
    scene.traffic(itertools.islice(scene.hostile(), 500)).finish()
    scene.eventually(lambda: scene.stored() == scene.history.accepted, 20, "the first are stored")

    end_sessions(scene.url)
    time.sleep(IDLE_SECONDS)
    scene.seed += 1
    scene.traffic(itertools.islice(scene.hostile(), 500)).finish()

    scene.recovers()
    scene.ends_well()
    assert not worker.says('"spooled"')


def event(number: int, **changes: object) -> bytes:
    now = int(time.time() * 1000) - 600_000
    fields = {
        "phoneNumber": "+15550100",
        "messageText": "where is my order",
        "intent": "track_order",
        "confidence": 0.9,
        "timestamp": now,
        "eventId": f"poison-{number}",
        **changes,
    }
    return json.dumps(fields).encode()


POISON: list[tuple[bytes | None, bytes]] = [
    (None, b"no_value"),
    (b"", b"invalid_json"),
    (b"{", b"invalid_json"),
    (b"\xff\xfe not utf-8", b"invalid_json"),
    (event(1).replace(b"where", b"wh\xe9re"), b"invalid_json"),
    (b"[" * 64, b"invalid_json"),
    (b'{"a":' * 64 + b"1" + b"}" * 64, b"invalid_event"),
    (b"[" * 1_000_000, b"invalid_json"),
    (b"[]", b"invalid_event"),
    (event(2, messageText="a\0b"), b"invalid_event"),
    (event(3, phoneNumber="\0"), b"invalid_event"),
    (event(4, confidence=float("nan")), b"invalid_event"),
    (event(5, confidence=float("inf")), b"invalid_event"),
    (event(6, confidence="0.9"), b"invalid_event"),
    (event(7, confidence=True), b"invalid_event"),
    (event(8, timestamp=10**30), b"invalid_event"),
    (event(9, timestamp=1.5), b"invalid_event"),
    (event(10, phoneNumber=1555), b"invalid_event"),
    (event(11, alternatives=[{"intent": "x"}] * 21), b"invalid_event"),
    (event(12, messageText="x" * 5_000_000), b"invalid_event"),
    (event(13, messageText="a" * 60_000_000), b"invalid_event"),
    (event(14, messageText="\ud83d"), b"invalid_json"),
    (event(15, confidence=10**400), b"invalid_event"),
]
"""The last but two is a compression bomb: 60 MB that travel as some kilobytes."""


def test_poison_of_every_kind(scene: Scene) -> None:
    start = int(time.time() * 1000) - 600_000
    good = hostile_traffic(600, 9, start)
    poison = [Message(b"+15550100", value, start, reason) for value, reason in POISON]
    worker = scene.start_worker()

    scene.traffic(itertools.chain(itertools.islice(good, 300), poison, good)).finish()
    scene.recovers()
    verdict = scene.ends_well()

    assert worker.process.poll() is None
    assert verdict.accepted > 600 + len(POISON)


@pytest.mark.slow_fault
def test_duplicates_and_disorder(scene: Scene) -> None:
    """Every other record is sent again, up to some hundred places later."""
    scene.start_worker()
    scene.traffic(repeated(scene.hostile(), random.Random(5)))
    scene.flows(1_000)

    scene.recovers()
    scene.ends_well()


def repeated(messages: Iterable[Message], chance: random.Random) -> Iterator[Message]:
    recent: list[Message] = []
    for message in messages:
        yield message
        recent.append(message)
        chance.shuffle(recent)
        if len(recent) > 300:
            yield recent.pop()._replace(timestamp=message.timestamp)
            recent.pop()


@pytest.mark.slow_fault
def test_a_storm_of_bad_records_that_stops_the_worker(scene: Scene) -> None:
    """What is neither stored nor a dead letter waits in Kafka for the next one."""
    start = int(time.time() * 1000) - 600_000
    good = hostile_traffic(10_000, 9, start)
    storm = [Message(b"+15550100", b"{", start, b"invalid_json")] * 1_500
    stops = {"INTENTLOOP_STORM_RECORDS": "100", "INTENTLOOP_STORM_STOP": "true"}
    worker = scene.start_worker(**stops)
    scene.traffic(itertools.chain(itertools.islice(good, 500), storm, good), pace=600)

    scene.ended(worker, status=1)
    scene.start_worker()

    scene.recovers()
    scene.ends_well()
