"""A broker that dies, stalls, or cannot be reached."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from intentloop_devstack import KafkaServer, UnavailableError, local_kafka
from intentloop_devstack.ports import free_port
from support.harm import die, freeze, restart
from support.proxy import Proxy
from support.scene import SOON, Scene, crowding

pytestmark = pytest.mark.fault
FAULT_SECONDS = 10.0
"""How long the fault lasts; nothing is waited for."""
STOP_SECONDS = 10.0


@pytest.fixture(scope="module")
def proxied_kafka(
    tmp_path_factory: pytest.TempPathFactory, kafka_jars: Path, own_environment: dict[str, str]
) -> Iterator[tuple[KafkaServer, Proxy]]:
    """A broker with two doors: clients take the first, workers the one behind the proxy."""
    port = free_port()
    try:
        with local_kafka(
            tmp_path_factory.mktemp("kafka"),
            environ=own_environment,
            prefer="java",
            jars=kafka_jars,
            proxy_port=port,
        ) as server:
            proxy = Proxy(f"kafka://{server.behind_proxy}", port)
            yield server, proxy
            proxy.stop()
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture
def kafka(proxied_kafka: tuple[KafkaServer, Proxy]) -> KafkaServer:
    return proxied_kafka[0]


@pytest.fixture
def road(proxied_kafka: tuple[KafkaServer, Proxy], worker_environment: dict[str, str]) -> Proxy:
    """The only road between workers and the broker."""
    proxy = proxied_kafka[1]
    worker_environment["KAFKA_BOOTSTRAP_SERVERS"] = proxy.url.removeprefix("kafka://")
    return proxy


@pytest.mark.parametrize(
    "harm",
    [
        die,
        pytest.param(restart, marks=pytest.mark.slow_fault),
        pytest.param(freeze, marks=pytest.mark.slow_fault),
    ],
)
def test_broker_harmed(
    scene: Scene, kafka: KafkaServer, harm: Callable[[KafkaServer], None]
) -> None:
    worker = scene.start_worker(**SOON)
    scene.traffic()
    bot = scene.bot()
    scene.flows()

    began = time.monotonic()
    harm(kafka)
    ended = time.monotonic()

    scene.takes_again()
    scene.recovers(since=ended)
    scene.says_quickly(bot, began)
    scene.ends_well()
    assert worker.process.poll() is None


@pytest.mark.slow_fault
@pytest.mark.parametrize("fault", ["cut", "half_open"])
def test_a_worker_can_be_stopped_while_the_broker_is_away(
    road: Proxy, scene: Scene, fault: str
) -> None:
    worker = scene.start_worker()
    scene.traffic()
    scene.flows()

    road.close_road() if fault == "cut" else road.swallow()
    began = time.monotonic()
    assert worker.stop(timeout=60) == 0
    assert time.monotonic() - began < STOP_SECONDS * crowding()
    road.open_road()
    scene.start_worker()

    scene.recovers()
    scene.ends_well()


@pytest.mark.slow_fault
@pytest.mark.parametrize("fault", ["cut", "half_open"])
def test_network_between_worker_and_broker(road: Proxy, scene: Scene, fault: str) -> None:
    """Cut off, or swallowing whatever is sent over connections that look open."""
    worker = scene.start_worker()
    scene.traffic()
    scene.flows()

    road.close_road() if fault == "cut" else road.swallow()
    scene.lasts(FAULT_SECONDS)
    road.open_road()

    scene.recovers()
    scene.ends_well()
    assert worker.process.poll() is None
