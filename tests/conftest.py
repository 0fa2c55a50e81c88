"""Fixtures for every test: real Kafka and Postgres, fresh topics and databases, waiting."""

from __future__ import annotations

import itertools
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit, urlunsplit

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from intentloop_devstack import (
    KafkaServer,
    PostgresServer,
    UnavailableError,
    local_kafka,
    local_postgres,
)
from intentloop_schemas.kafka import KafkaSettings
from intentloop_sink import migrate
from intentloop_stream.topics import create_topics
from support import tables

Answer = TypeVar("Answer")
PROJECT = Path(__file__).parent.parent
_POLL_SECONDS = 0.02

# Rich would keep the size that is set when it is imported; `wide_terminal` sets it for each test.
for _size in ("COLUMNS", "LINES"):
    os.environ.pop(_size, None)


class Eventually(Protocol):
    """Waits until a condition holds."""

    def __call__(
        self, condition: Callable[[], Answer], timeout: float = 10.0, message: str = ""
    ) -> Answer: ...


class MakeTopic(Protocol):
    """Creates a topic under a fresh name and returns the name."""

    def __call__(self, partitions: int = 4, config: Mapping[str, str] | None = None) -> str: ...


@pytest.fixture(autouse=True)
def journal_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the journals of loggers out of the project's folder, and apart from each other."""
    monkeypatch.setenv("INTENTLOOP_JOURNAL_DIR", str(tmp_path / "journal"))


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no table that a command prints break the sentences that tests look for."""
    monkeypatch.setenv("COLUMNS", "1000")


@pytest.fixture(scope="session")
def kafka_jars() -> Path:
    """Where Kafka's jars are kept: the same folder as the demo's."""
    return PROJECT / "var" / "kafka-jars"


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory, kafka_jars: Path) -> Iterator[KafkaServer]:
    """A real Kafka for the whole run; without one, skips, or fails if REQUIRE_REAL_KAFKA=1."""
    folder = tmp_path_factory.mktemp("servers")
    with local_kafka(folder, environ=os.environ, jars=kafka_jars) as server:
        if not server.is_real:
            pytest.skip(f"no real Kafka: {server.description}")
        # Loggers report on themselves there, and wait a moment for it when they are closed.
        create_topics(KafkaSettings(bootstrap_servers=server.bootstrap_servers), "unused")
        yield server


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A real Postgres for the whole run; without one, skips with the reason."""
    try:
        with local_postgres(
            tmp_path_factory.mktemp("servers"), environ=os.environ, keep=False
        ) as server:
            yield server
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def migrated_template(postgres_server: PostgresServer) -> Iterator[str]:
    """The name of a migrated database, which is copied in a fraction of a migration's time."""
    with database(postgres_server) as url:
        migrate(url)
        yield urlsplit(url).path.strip("/")


@pytest.fixture
def database_url(postgres_server: PostgresServer, migrated_template: str) -> Iterator[str]:
    """The URL of a migrated database of the test's own, dropped after it."""
    with database(postgres_server, migrated_template) as url:
        yield url


@pytest.fixture
def empty_database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a database of the test's own without tables, dropped after it."""
    with database(postgres_server) as url:
        yield url


@pytest.fixture(scope="module")
def module_database_url(postgres_server: PostgresServer, migrated_template: str) -> Iterator[str]:
    """The URL of a migrated database that a module's tests share."""
    with database(postgres_server, migrated_template) as url:
        yield url


@contextmanager
def database(server: PostgresServer, template: str = "template1") -> Iterator[str]:
    """Create a database, yield its URL, drop it."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    tables.administer(server.url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    yield urlunsplit(urlsplit(server.url)._replace(path=f"/{name}"))
    tables.administer(server.url, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def make_topic(kafka: KafkaServer) -> Iterator[MakeTopic]:
    """A function that creates topics, which are deleted after the test."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    name = f"test-{uuid.uuid4().hex[:12]}"
    names = (f"{name}-{number}" for number in itertools.count(1))
    made: list[str] = []

    def make(partitions: int = 4, config: Mapping[str, str] | None = None) -> str:
        topic = NewTopic(next(names), partitions, replication_factor=1, config=dict(config or {}))
        _results(admin.create_topics([topic]))
        made.append(topic.topic)
        return topic.topic

    yield make
    if made:
        _results(admin.delete_topics(made))


def _results(futures: Mapping[str, Any]) -> None:
    for future in futures.values():
        future.result(timeout=30)


@pytest.fixture
def topic(make_topic: MakeTopic) -> str:
    """The name of an empty topic of the test's own, with 4 partitions."""
    return make_topic()


@pytest.fixture(scope="session")
def eventually() -> Eventually:
    """Wait for `condition` to return something true, and return that: the only place that waits."""

    def wait(condition: Callable[[], Answer], timeout: float = 10.0, message: str = "") -> Answer:
        deadline = time.monotonic() + timeout
        while not (answer := condition()):
            if time.monotonic() > deadline:
                pytest.fail(f"not within {timeout:g} s: {message or condition}; last {answer!r}")
            time.sleep(_POLL_SECONDS)
        return answer

    return wait
