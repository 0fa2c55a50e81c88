"""What runs beside the worker in `intentloop up`: the HTTP API, the runner of jobs, the NLU."""

from __future__ import annotations

import secrets
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from intentloop_admin.settings import ApiSettings
from intentloop_devstack.claim import claim
from intentloop_devstack.process import ServerProcess
from intentloop_training.settings import NluSettings

_KEY = "INTENTLOOP_ADMIN_KEY"
_ANSWER_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Service:
    """A running server."""

    url: str
    log: Path


@dataclass(frozen=True, slots=True)
class Api(Service):
    """A running API, with a key for whoever watches."""

    key: str


@dataclass(frozen=True, slots=True)
class Services:
    """All of them, running; `jobs` is the log of the runner."""

    api: Api
    nlu: Service
    jobs: Path


@contextmanager
def running_services(
    folder: Path, environ: Mapping[str, str], pool: Executor
) -> Iterator[Services]:
    """Run all of them as long as the context lasts. Blocks until they serve, about 3 s.

    `environ` is the whole environment; what it does not say is chosen: the usual ports or, if they
    are taken, free ones, and a new key.

    Raises intentloop_devstack.UnavailableError when one does not start.
    """
    with ExitStack() as stack:
        api = pool.submit(stack.enter_context, _api(folder, environ))
        nlu = pool.submit(stack.enter_context, _nlu(folder, environ))
        jobs = pool.submit(stack.enter_context, _jobs(folder, environ))
        # Whoever fails, the others have been started by then, and are stopped.
        starting: list[Future[Any]] = [api, nlu, jobs]
        wait(starting)
        yield Services(api.result(), nlu.result(), jobs.result())


@contextmanager
def _api(folder: Path, environ: Mapping[str, str]) -> Iterator[Api]:
    key = environ.get(_KEY) or secrets.token_hex(16)
    usual = int(ApiSettings.model_fields["port"].default)
    url, place = _place("INTENTLOOP_API", usual, environ)
    server = _running(
        folder,
        "The API",
        ["api"],
        {**environ, **place, _KEY: key},
        lambda: _serves(f"{url}/readyz"),
    )
    with server as process:
        yield Api(url, process.log, key)


@contextmanager
def _nlu(folder: Path, environ: Mapping[str, str]) -> Iterator[Service]:
    usual = int(NluSettings.model_fields["port"].default)
    url, place = _place("INTENTLOOP_NLU", usual, environ)
    server = _running(
        folder, "The NLU", ["nlu", "serve"], {**environ, **place}, lambda: _serves(f"{url}/version")
    )
    with server as process:
        yield Service(url, process.log)


@contextmanager
def _jobs(folder: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    # Nobody needs to wait for it: jobs do.
    with _running(folder, "The runner of jobs", ["jobs"], environ, lambda: True) as process:
        yield process.log


@contextmanager
def _running(
    folder: Path,
    name: str,
    arguments: list[str],
    environ: Mapping[str, str],
    ready: Callable[[], bool],
) -> Iterator[ServerProcess]:
    with claim(folder.absolute() / "services", arguments[0]) as place:
        command = [sys.executable, "-m", "intentloop_cli", *arguments]
        server = ServerProcess(name, command, place, ready, environ)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _place(prefix: str, usual: int, environ: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return the address of a server, and the settings that make it listen there."""
    host = environ.get(f"{prefix}_HOST") or "127.0.0.1"
    port = int(environ.get(f"{prefix}_PORT") or _free_port(host, usual))
    return f"http://{host}:{port}", {f"{prefix}_HOST": host, f"{prefix}_PORT": str(port)}


def _free_port(host: str, usual: int) -> int:
    for port in (usual, 0):
        with suppress(OSError), socket.create_server((host, port)) as free:
            return int(free.getsockname()[1])
    return usual


def _serves(url: str) -> bool:
    with suppress(OSError), urlopen(url, timeout=_ANSWER_SECONDS) as answer:  # noqa: S310 - our own
        return bool(answer.status == 200)  # noqa: PLR2004 - OK
    return False
