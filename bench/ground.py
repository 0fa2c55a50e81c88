"""The ground the contestants run on: one broker, one database server, a fresh database each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2

from bench.traffic import Traffic, produce
from intentloop_devstack import local_kafka, local_postgres
from intentloop_schemas.kafka import KafkaSettings
from intentloop_sink import migrate
from intentloop_stream.topics import create_topics

# Kafka's default, so that workers which start together share the partitions from the first record.
_BROKER = {"group.initial.rebalance.delay.ms": "3000"}


@dataclass(frozen=True)
class Ground:
    """A broker and a database server that run."""

    bootstrap_servers: str
    server_url: str
    folder: Path
    """For what the bench keeps: logs, dumps, jars, environments of peers."""
    versions: dict[str, str]
    """Of broker and database server."""

    def topic(self, name: str, traffic: Traffic, partitions: int = 4) -> int:
        """Create a topic and fill it; return how many records it has without its ticks."""
        self.empty_topic(name, partitions)
        return produce(self.bootstrap_servers, name, traffic)

    def empty_topic(self, name: str, partitions: int = 4) -> None:
        """Create a topic and its dead-letter topic."""
        settings = KafkaSettings(bootstrap_servers=self.bootstrap_servers)
        create_topics(settings, name, partitions=partitions)

    def database(self, name: str) -> AbstractContextManager[str]:
        """Yield the URL of a new database with empty tables, dropped at the end."""
        return new_database(self.server_url, name)


@contextmanager
def new_database(server_url: str, name: str) -> Iterator[str]:
    """Yield the URL of a new database with empty tables, dropped at the end.

    A checkpoint before, so that nobody pays for who came before.
    """
    execute(server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    execute(server_url, f"CREATE DATABASE {name}")
    url = urlsplit(server_url)._replace(path=f"/{name}").geturl()
    migrate(url)
    execute(server_url, "CHECKPOINT")
    try:
        yield url
    finally:
        execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def ground(folder: Path, settings: dict[str, str] | None = None) -> Iterator[Ground]:
    """Start (or find) a broker and a database server, empty, for as long as the context lasts."""
    with (
        local_kafka(
            folder,
            environ=os.environ,
            fresh=True,
            jars=Path("var/kafka-jars"),
            properties=_BROKER,
        ) as kafka,
        local_postgres(folder, environ=os.environ, fresh=True, settings=settings) as postgres,
    ):
        yield Ground(
            kafka.bootstrap_servers,
            postgres.url,
            folder.absolute(),
            {
                "kafka": kafka.about.split(" at ")[0],
                "postgres": query(postgres.url, "SHOW server_version")[0][0],
            },
        )


def execute(url: str, statement: str) -> None:
    """Run one statement outside of any transaction."""
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


def query(url: str, statement: str, *arguments: Any) -> list[tuple[Any, ...]]:
    """Return the rows of one statement."""
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, arguments or None)
            return cursor.fetchall()
    finally:
        connection.close()
