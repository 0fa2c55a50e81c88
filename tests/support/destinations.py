"""Where a logger sends to: a real Kafka, and a backend behind HTTP, alike to a test."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

import pytest
from pydantic import SecretStr

from intentloop_producer import BackendSettings, ConversationLogger, LoggerSettings
from intentloop_schemas import Event
from intentloop_schemas.kafka import KafkaSettings
from support.backend import KEY, Backend
from support.topic_reader import read_events, read_topic


class Destination(Protocol):
    """One place that events arrive at; each test has its own."""

    name: str
    """As the logger calls it in its lines."""

    @property
    def environment(self) -> dict[str, str]:
        """What a bot needs to be told."""
        ...

    @property
    def nowhere(self) -> Mapping[str, str]:
        """What makes a bot look for it where nobody is."""
        ...

    def logger(self, **settings: Any) -> ConversationLogger:
        """Return a logger that sends here."""
        ...

    def events(self) -> list[Event]:
        """Return what has arrived, each event once, those of a sender in their order."""
        ...

    def stop(self) -> None:
        """Be away."""
        ...

    def kill(self) -> None:
        """Be away, without a warning."""
        ...

    def restart(self) -> None:
        """Be back, with what was there before."""
        ...


class KafkaDestination:
    """A topic of a real Kafka."""

    name = "Kafka"
    nowhere = MappingProxyType({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"})

    def __init__(self, kafka: Any, topic: str) -> None:
        self._kafka = kafka
        self._topic = topic

    @property
    def environment(self) -> dict[str, str]:
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self._kafka.bootstrap_servers,
            "INTENTLOOP_TOPIC": self._topic,
        }

    def logger(self, **settings: Any) -> ConversationLogger:
        kafka = KafkaSettings(bootstrap_servers=self._kafka.bootstrap_servers)
        return ConversationLogger(LoggerSettings(topic=self._topic, **settings), kafka=kafka)

    def events(self) -> list[Event]:
        records = read_topic(self._kafka.bootstrap_servers, self._topic)
        events = read_events(self._kafka.bootstrap_servers, self._topic)
        keys = [record.key().decode() for record in records]
        assert keys == [event.phone_number for event in events]
        return events

    def stop(self) -> None:
        self._need_our_own()
        self._kafka.stop()

    def kill(self) -> None:
        self._need_our_own()
        self._kafka.kill()

    def restart(self) -> None:
        self._kafka.restart()

    def _need_our_own(self) -> None:
        if self._kafka.pid is None:
            pytest.skip("this Kafka cannot be stopped: unset KAFKA_BOOTSTRAP_SERVERS")


class HttpDestination:
    """A backend behind HTTP."""

    name = "Admin Backend"
    nowhere = MappingProxyType({"ADMIN_BACKEND_URL": "http://127.0.0.1:1"})

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    @property
    def environment(self) -> dict[str, str]:
        return {"ADMIN_BACKEND_URL": self.backend.url, "ADMIN_BACKEND_API_KEY": KEY}

    def logger(self, **settings: Any) -> ConversationLogger:
        backend = BackendSettings(url=self.backend.url, api_key=SecretStr(KEY))
        return ConversationLogger(LoggerSettings(**settings), backend=backend)

    def events(self) -> list[Event]:
        return self.backend.events()

    def stop(self) -> None:
        self.backend.stop()

    kill = stop

    def restart(self) -> None:
        self.backend.start()
