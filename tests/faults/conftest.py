"""The stage for faults. Modules that harm a server take one of their own."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from conftest import database
from intentloop_devstack import KafkaServer, PostgresServer, local_kafka, local_postgres
from intentloop_schemas.kafka import KafkaSettings
from intentloop_sink import migrate
from intentloop_stream.topics import create_topics
from support import tables
from support.bot import Bot, bots
from support.oracle import History
from support.processes import RUN, ChangedWorker, StartWorker, workers
from support.scene import Scene, StartBot

_GIVEN = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL")


@pytest.fixture(scope="session")
def own_environment() -> dict[str, str]:
    """The environment without servers that are not ours to harm."""
    return {name: value for name, value in os.environ.items() if name not in _GIVEN}


@pytest.fixture(scope="module")
def own_kafka(
    tmp_path_factory: pytest.TempPathFactory, kafka_jars: Path, own_environment: dict[str, str]
) -> Iterator[KafkaServer]:
    """A real Kafka that may be killed."""
    with local_kafka(
        tmp_path_factory.mktemp("kafka"), environ=own_environment, jars=kafka_jars
    ) as server:
        if not server.is_real:
            pytest.skip(f"no real Kafka: {server.description}")
        yield server


@pytest.fixture(scope="module")
def own_postgres(
    tmp_path_factory: pytest.TempPathFactory, own_environment: dict[str, str]
) -> Iterator[PostgresServer]:
    """A real Postgres that may be killed."""
    folder = tmp_path_factory.mktemp("postgres")
    with local_postgres(folder, environ=own_environment, keep=False) as server:
        yield server


@pytest.fixture
def database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a migrated database on whichever server the module's tests take."""
    with database(postgres_server) as url:
        migrate(url)
        yield url


@pytest.fixture
def conversations(kafka: KafkaServer) -> str:
    """A fresh topic with its dead-letter topic."""
    name = f"conversations-{uuid.uuid4().hex[:8]}"
    create_topics(KafkaSettings(bootstrap_servers=kafka.bootstrap_servers), name)
    return name


@pytest.fixture
def worker_environment(
    kafka: KafkaServer, conversations: str, database_url: str, tmp_path: Path
) -> dict[str, str]:
    """What a worker is told."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "DATABASE_URL": database_url,
        "INTENTLOOP_TOPIC": conversations,
        "INTENTLOOP_GROUP": f"group-{conversations}",
        "FALLBACK_DIR": str(tmp_path / "fallback"),
    }


@pytest.fixture
def start_worker(
    worker_environment: dict[str, str], database_url: str, tmp_path: Path
) -> Iterator[StartWorker]:
    """A function that starts workers."""
    with workers(worker_environment, tmp_path) as start:
        yield start


@pytest.fixture
def changed_worker(tmp_path: Path) -> ChangedWorker:
    """A function that returns the command of a worker with a change made to it."""

    def change(source: str) -> tuple[str, ...]:
        script = tmp_path / f"worker-{sha256(source.encode()).hexdigest()[:8]}.py"
        script.write_text(source + RUN)
        return (sys.executable, str(script))

    return change


@pytest.fixture
def start_bot(kafka: KafkaServer, conversations: str, tmp_path: Path) -> Iterator[StartBot]:
    """A function that starts chatbots, which share a journal."""
    fixed = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "INTENTLOOP_TOPIC": conversations,
        "INTENTLOOP_JOURNAL_DIR": str(tmp_path / "journal"),
    }
    with bots() as started:

        def start(name: str, pace: float, change: str, environment: Mapping[str, str]) -> Bot:
            started.append(Bot(name, {**fixed, **environment}, tmp_path, pace, change))
            return started[-1]

        yield start


@pytest.fixture
def scene(
    kafka: KafkaServer,
    conversations: str,
    database_url: str,
    tmp_path: Path,
    start_worker: StartWorker,
    start_bot: StartBot,
    eventually: Any,
    record_property: Any,
) -> Scene:
    """A topic, a database and a fallback folder of the test's own."""

    def figure(name: str, value: object) -> None:
        record_property(name, value)
        print(f"{name}: {value}")

    record_property("postgres", tables.query(database_url, "SHOW server_version")[0][0])

    return Scene(
        kafka.bootstrap_servers,
        conversations,
        database_url,
        tmp_path / "fallback",
        History(tmp_path / "history.jsonl"),
        start_worker,
        eventually,
        start_bot,
        figure,
    )
