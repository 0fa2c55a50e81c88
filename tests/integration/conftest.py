"""Where loggers send to, and workers, stores and reviewers on a fresh topic and database."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from intentloop_cli.app import app
from intentloop_producer import BackendSettings, ConversationLogger, LoggerSettings
from intentloop_schemas.kafka import KafkaSettings
from intentloop_sink import PostgresSink
from intentloop_sink.spool import Spool
from intentloop_stream.topics import create_topics
from support.backend import KEY, Backend
from support.desk import Desk
from support.destinations import Destination, HttpDestination, KafkaDestination
from support.loggers import Make
from support.processes import StartWorker, workers
from support.site import Intentloop, Site


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
    """A function that makes stores, on the test's database if not told otherwise.

    They are closed after the test.
    """
    sinks: list[PostgresSink] = []

    def make(url: str = database_url, **options: Any) -> PostgresSink:
        given = {"window_seconds": 30, "writer": f"writer-{len(sinks)}", **options}
        sinks.append(PostgresSink(url, **given))
        return sinks[-1]

    yield make
    for sink in sinks:
        sink.close()


@pytest.fixture
def sink(make_sink: Callable[..., PostgresSink]) -> PostgresSink:
    """A store on the test's database."""
    return make_sink()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """An empty spool in the test's own folder, whose writer lives."""
    with Spool(tmp_path, "w") as spool:
        yield spool


@pytest.fixture
def desk(database_url: str) -> Iterator[Desk]:
    """A review queue on the test's database."""
    desk = Desk(database_url)
    yield desk
    desk.catalogue.close()
    desk.sink.close()


@pytest.fixture
def site(kafka: Any, conversations: str, database_url: str, tmp_path: Path) -> Site:
    """A machine of the test's own, where nothing lies yet."""
    return Site(
        kafka.bootstrap_servers,
        conversations,
        database_url,
        tmp_path / "fallback",
        tmp_path / "journal",
    )


@pytest.fixture
def intentloop(site: Site) -> Intentloop:
    """The command line, set up for `site`."""
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": site.servers,
        "DATABASE_URL": site.url,
        "INTENTLOOP_TOPIC": site.topic,
        "FALLBACK_DIR": str(site.fallback),
        "INTENTLOOP_JOURNAL_DIR": str(site.journals),
    }

    def run(*arguments: str, **more: Any) -> Result:
        environ = {**environment, **more.pop("env", {})}
        return CliRunner(env=environ).invoke(app, [*arguments], **more)

    return run


@pytest.fixture
def backend() -> Iterator[Backend]:
    """An admin backend, in this process."""
    backend = Backend()
    yield backend
    backend.stop()


@pytest.fixture
def make(backend: Backend, caplog: pytest.LogCaptureFixture) -> Iterator[Make]:
    """A function that makes loggers that send to `backend`; they are closed after the test."""
    caplog.set_level(logging.INFO, "intentloop.conversation")
    made: list[ConversationLogger] = []

    def make(url: str = "", key: str | None = KEY, **settings: Any) -> ConversationLogger:
        where = BackendSettings(url=url or backend.url, api_key=SecretStr(key) if key else None)
        made.append(ConversationLogger(LoggerSettings(**settings), backend=where))
        return made[-1]

    yield make
    for logger in made:
        logger.close(0.1)


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
