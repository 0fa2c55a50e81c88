"""Where loggers send to, and workers on a fresh topic and a fresh, migrated database."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from intentloop_schemas.kafka import KafkaSettings
from intentloop_sink import PostgresSink
from intentloop_stream.topics import create_topics
from support.backend import Backend
from support.destinations import Destination, HttpDestination, KafkaDestination
from support.processes import StartWorker, workers


@pytest.fixture
def conversations(kafka: Any) -> str:
    """A fresh topic with its dead-letter topic."""
    name = f"conversations-{uuid.uuid4().hex[:8]}"
    create_topics(KafkaSettings(bootstrap_servers=kafka.bootstrap_servers), name)
    return name


@pytest.fixture
def start_worker(
    kafka: Any, conversations: str, database_url: str, tmp_path: Path
) -> Iterator[StartWorker]:
    """A function that starts workers on `conversations` and `database_url`."""
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "DATABASE_URL": database_url,
        "INTENTLOOP_TOPIC": conversations,
        "INTENTLOOP_GROUP": f"group-{conversations}",
        "FALLBACK_DIR": str(tmp_path / "fallback"),
    }
    with workers(environment, tmp_path) as start:
        yield start


@pytest.fixture
def make_sink(database_url: str) -> Iterator[Callable[..., PostgresSink]]:
    """A function that makes stores on the test's database, migrated; they are closed after it."""
    sinks: list[PostgresSink] = []

    def make(**options: Any) -> PostgresSink:
        given = {"window_seconds": 30, "writer": f"writer-{len(sinks)}", **options}
        sinks.append(PostgresSink(database_url, **given))
        return sinks[-1]

    yield make
    for sink in sinks:
        sink.close()


@pytest.fixture
def sink(make_sink: Callable[..., PostgresSink]) -> PostgresSink:
    """A store on the test's database."""
    return make_sink()


@pytest.fixture(params=["kafka", "http"])
def destination(request: pytest.FixtureRequest) -> Iterator[Destination]:
    """Each place that a logger can send to, in turn."""
    if request.param == "kafka":
        kafka, topic = (request.getfixturevalue(name) for name in ("kafka", "topic"))
        yield KafkaDestination(kafka, topic)
    else:
        backend = Backend()
        yield HttpDestination(backend)
        backend.stop()
