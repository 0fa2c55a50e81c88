"""`intentloop trace` on real Kafka and Postgres: wherever an event is, it is found."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner, Result

from conftest import Eventually
from intentloop_cli.app import app
from intentloop_sink.spool import Spool
from support import tables
from support.batches import batch, entry
from support.processes import StartWorker

Trace = Callable[..., Result]


@pytest.fixture
def environment(
    kafka: Any, conversations: str, database_url: str, tmp_path: Path
) -> dict[str, str]:
    return {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "INTENTLOOP_TOPIC": conversations,
        "DATABASE_URL": database_url,
        "FALLBACK_DIR": str(tmp_path / "fallback"),
    }


@pytest.fixture
def trace(environment: dict[str, str]) -> Trace:
    def run(*arguments: str) -> Result:
        return CliRunner(env=environment).invoke(app, ["trace", *arguments])

    return run


@pytest.fixture
def send(kafka: Any, conversations: str) -> Callable[..., None]:
    def produce(**changes: Any) -> None:
        event = {
            "phoneNumber": "+919876543210",
            "messageText": "where is my order?",
            "intent": "track_order",
            "confidence": 0.4,
            "timestamp": round(time.time() * 1000),
            **changes,
        }
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
        producer.produce(conversations, json.dumps(event).encode(), b"+919876543210")
        assert producer.flush(10) == 0

    return produce


def test_an_event_on_its_way(
    trace: Trace,
    send: Callable[..., None],
    start_worker: StartWorker,
    database_url: str,
    eventually: Eventually,
) -> None:
    send(eventId="first")
    before = trace("first")
    assert before.exit_code == 0, before.output
    assert "It is in Kafka and not stored yet." in before.output
    assert "not read yet" in before.output

    start_worker(BATCH_SECONDS="1")
    eventually(lambda: tables.accounted(database_url) == 1, timeout=60)
    after = trace("first")

    assert "It is stored." in after.output
    order = [after.output.index(step) for step in ("in Kafka", "batch committed", "as ex-")]
    assert order == sorted(order)
    assert "track_order, 40.0%, needs_review" in after.output


def test_an_event_that_was_rejected(
    trace: Trace,
    send: Callable[..., None],
    start_worker: StartWorker,
    database_url: str,
    eventually: Eventually,
) -> None:
    send(eventId="second", confidence="+919876543210")
    start_worker(BATCH_SECONDS="1")
    eventually(lambda: tables.accounted(database_url) == 1, timeout=60)

    found = trace("second")

    assert "It was rejected" in found.output
    assert "confidence: send a number" in found.output
    assert "9876543210" not in found.output


def test_an_event_that_waits_in_a_file(
    trace: Trace, start_worker: StartWorker, environment: dict[str, str]
) -> None:
    with Spool(Path(environment["FALLBACK_DIR"]), "worker-1") as spool:
        spool.append([batch([entry(0, event_id="third")])])

    found = trace("third")

    assert "It waits in a file" in found.output
    assert "worker-1" in found.output


def test_an_event_that_nobody_knows(trace: Trace, start_worker: StartWorker) -> None:
    found = trace("no-such-event")
    assert found.exit_code == 1
    assert "Nobody here knows no-such-event" in found.output
