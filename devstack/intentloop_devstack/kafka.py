"""A Kafka broker: the one that is given, or the best one this machine can start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from intentloop_devstack import containers, kafka_java, kafka_mock
from intentloop_devstack.claim import Claim, claim
from intentloop_devstack.errors import UnavailableError
from intentloop_devstack.kafka_jars import VERSION
from intentloop_devstack.kafka_java import Secured
from intentloop_devstack.roads import first_open
from intentloop_devstack.server import Given, Server

_VARIABLE = "KAFKA_BOOTSTRAP_SERVERS"


@dataclass
class KafkaServer(Server):
    """A running Kafka."""

    bootstrap_servers: str = ""
    """What clients connect to: host:port, separated by commas."""
    behind_proxy: str | None = None
    """Where a proxy on `proxy_port` reaches the broker (road java only)."""
    secured: str | None = None
    """Where clients sign in over TLS (road java only)."""

    @property
    def is_real(self) -> bool:
        """Whether this is Apache Kafka (or what was given) and not librdkafka's imitation."""
        return self.kind != "mock"


@dataclass(frozen=True)
class _Wanted:
    place: Claim
    environ: Mapping[str, str]
    properties: Mapping[str, str]
    proxy_port: int | None
    secured: Secured | None
    jars: Path
    fresh: bool


@contextmanager
def local_kafka(
    folder: Path,
    *,
    environ: Mapping[str, str],
    prefer: str | None = None,
    jars: Path | None = None,
    properties: Mapping[str, str] | None = None,
    proxy_port: int | None = None,
    secured: Secured | None = None,
    fresh: bool = False,
) -> Iterator[KafkaServer]:
    """Yield a Kafka for as long as the context lasts. Blocks until it serves, about 4 s.

    In this order: KAFKA_BOOTSTRAP_SERVERS; Docker; Java 17 with Maven; librdkafka's mock cluster.

    Args:
        folder: everything lies in it, under `kafka`, or `kafka-2` when that is in use.
        environ: the whole environment; it decides, and child processes get it. With
            REQUIRE_REAL_KAFKA=1 the mock cluster does not count.
        prefer: take this road only: given, docker, java or mock.
        jars: where Kafka's jars are kept; default `folder/kafka-jars`.
        properties: broker properties beside or instead of the usual ones.
        proxy_port: open a second listener that tells clients to come back on this loopback port,
            where the caller runs a proxy to `behind_proxy`.
        secured: open another listener, over TLS, for a user who signs in by SCRAM.
        fresh: start empty, not with what the last broker in this folder kept.

    Raises:
        UnavailableError: no road is open.
    """
    if prefer == "given" or (prefer is None and environ.get(_VARIABLE)):
        yield _given(environ)
        return
    with claim(folder.absolute(), "kafka") as place:
        jars = (jars or folder / "kafka-jars").absolute()
        server = _start(
            _Wanted(place, environ, properties or {}, proxy_port, secured, jars, fresh),
            prefer=prefer,
        )
        try:
            yield server
        finally:
            server.stop()


def _given(environ: Mapping[str, str]) -> KafkaServer:
    address = environ.get(_VARIABLE)
    if not address:
        raise UnavailableError(f"{_VARIABLE} is not set")
    about = f"Kafka at {address}, given by {_VARIABLE}"
    return KafkaServer(Given(_VARIABLE), "given", about, bootstrap_servers=address)


def _start(wanted: _Wanted, *, prefer: str | None) -> KafkaServer:
    roads = {
        "docker": partial(_docker, wanted),
        "java": partial(_java, wanted),
        "mock": partial(_mock, wanted),
    }
    if wanted.environ.get("REQUIRE_REAL_KAFKA") != "1":
        return first_open(roads, prefer=prefer)
    del roads["mock"]
    try:
        return first_open(roads, prefer=prefer)
    except UnavailableError as error:
        raise UnavailableError(
            f"REQUIRE_REAL_KAFKA=1, but no real Kafka can be started ({error}). Install Java 17 "
            f"or newer and Maven, or start Docker, or set {_VARIABLE}."
        ) from error


def _docker(wanted: _Wanted) -> KafkaServer:
    if wanted.proxy_port is not None or wanted.secured is not None:
        raise UnavailableError("the broker in a container has no second listener")
    container, address = containers.start_kafka(wanted.environ, wanted.properties)
    about = f"Apache Kafka {VERSION} in Docker at {address}; its data ends with the container"
    return KafkaServer(container, "docker", about, bootstrap_servers=address)


def _java(wanted: _Wanted) -> KafkaServer:
    broker = kafka_java.start(
        wanted.place,
        environ=wanted.environ,
        jars=wanted.jars,
        properties=wanted.properties,
        proxy_port=wanted.proxy_port,
        secured=wanted.secured,
        fresh=wanted.fresh,
    )
    about = f"Apache Kafka {VERSION} on Java at {broker.address}, data in {wanted.place.folder}"
    return KafkaServer(
        broker.process,
        "java",
        about,
        bootstrap_servers=broker.address,
        behind_proxy=broker.behind_proxy,
        secured=broker.secured,
    )


def _mock(wanted: _Wanted) -> KafkaServer:
    process, address = kafka_mock.start(wanted.place, environ=wanted.environ)
    about = f"librdkafka's mock cluster at {address}, in memory"
    return KafkaServer(process, "mock", about, bootstrap_servers=address)
