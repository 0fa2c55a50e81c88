"""Servers in Docker, through testcontainers, whose reaper ends them when this process is gone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from intentloop_devstack import kafka_java, postgres_client
from intentloop_devstack.errors import StartError, UnavailableError
from intentloop_devstack.kafka_jars import VERSION
from intentloop_devstack.ports import LOOPBACK, free_port
from intentloop_devstack.server import Lifecycle

KAFKA_IMAGE = f"apache/kafka:{VERSION}"
POSTGRES_IMAGE = "postgres:17.6-bookworm"
_ENGINE_SECONDS = 2
_READY_SECONDS = 90.0
_ANYWHERE = "0.0.0.0"  # noqa: S104 - inside the container; outside only loopback is bound


@dataclass
class Container(Lifecycle):
    """A running container; its log stays with the engine."""

    running: Any
    """The engine's own handle (docker.models.containers.Container)."""
    ready: Callable[[], bool]

    log = None

    @property
    def pid(self) -> int | None:
        """The server's process id on the engine's machine, None when it does not run."""
        self.running.reload()
        return self.running.attrs["State"]["Pid"] or None

    def stop(self) -> None:
        """Stop and remove the container."""
        self.running.remove(force=True, v=True)

    def kill(self) -> None:
        """Kill all its processes; the container and its data stay."""
        self.running.kill()

    def pause(self) -> None:
        """Freeze all its processes."""
        self.running.pause()

    def resume(self) -> None:
        """Let it go on."""
        self.running.unpause()

    def restart(self) -> None:
        """Stop it if it runs and start it again on the same ports."""
        self.running.restart()
        self.await_ready()

    def await_ready(self) -> None:
        """Wait until the server serves; raise StartError with the end of its log otherwise."""
        deadline = time.monotonic() + _READY_SECONDS
        while not self.ready():
            if time.monotonic() > deadline:
                log = self.running.logs(tail=15).decode(errors="replace")
                raise StartError(f"the container did not come up. The end of its log:\n{log}")
            time.sleep(0.1)


def start_kafka(environ: Mapping[str, str], properties: Mapping[str, str]) -> tuple[Container, str]:
    """Start Kafka and return it with its address.

    Raises:
        UnavailableError: no engine answers within 2 s, or the container did not come up.
    """
    port = free_port()
    address = f"{LOOPBACK}:{port}"
    listeners = {
        "listeners": f"CLIENTS://{_ANYWHERE}:{port},CONTROLLER://localhost:9093",
        "advertised.listeners": f"CLIENTS://{address}",
        "controller.quorum.voters": "1@localhost:9093",
    }
    settings = {**kafka_java.PROPERTIES, **listeners, **properties}
    variables = {_as_variable(name): value for name, value in settings.items()}
    ready = kafka_java.Readiness(address, cluster=None)
    return _run(KAFKA_IMAGE, environ, port, ready, variables=variables), address


def start_postgres(
    environ: Mapping[str, str], settings: Mapping[str, str]
) -> tuple[Container, int]:
    """Start Postgres with a database `intentloop` and return it with its port.

    Raises:
        UnavailableError: no engine answers within 2 s, or the container did not come up.
    """
    port = free_port()
    variables = {
        "POSTGRES_DB": postgres_client.DATABASE,
        "POSTGRES_HOST_AUTH_METHOD": "trust",
        "POSTGRES_INITDB_ARGS": "--encoding=UTF8 --locale=C.UTF-8",
    }
    options = {**settings, "port": str(port)}
    command = ["postgres", *(f"--{name}={value}" for name, value in options.items())]
    ready = postgres_client.Readiness(port, data=None)
    container = _run(POSTGRES_IMAGE, environ, port, ready, variables=variables, command=command)
    return container, port


def _run(
    image: str,
    environ: Mapping[str, str],
    port: int,
    ready: Callable[[], bool],
    *,
    variables: Mapping[str, str],
    command: Sequence[str] | None = None,
) -> Container:
    _require_engine(environ)
    from docker.errors import DockerException  # type: ignore[import-untyped]  # has no types
    from testcontainers.core.container import DockerContainer

    try:
        wanted = DockerContainer(image, env=dict(variables), command=command)
        wanted.ports[f"{port}/tcp"] = (LOOPBACK, port)
        container = Container(wanted.start().get_wrapped_container(), ready)
    except (DockerException, OSError) as error:
        raise UnavailableError(f"{image} cannot be run: {error}") from error
    try:
        container.await_ready()
    except BaseException:
        container.stop()
        raise
    return container


def _require_engine(environ: Mapping[str, str]) -> None:
    import docker  # type: ignore[import-untyped]  # has no types
    from docker.errors import DockerException

    try:
        docker.from_env(environment=dict(environ), timeout=_ENGINE_SECONDS).ping()
    except (DockerException, OSError) as error:
        raise UnavailableError(f"no Docker engine answers within {_ENGINE_SECONDS} s") from error


def _as_variable(name: str) -> str:
    """Return the environment variable that sets a broker property in apache/kafka's image."""
    return "KAFKA_" + name.upper().replace("-", "___").replace("_", "__").replace(".", "_")
