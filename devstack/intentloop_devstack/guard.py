"""Runs one server and ends it when the process that asked for it is gone.

It is started as a script of its own, in a session of its own: a kill -9 or a Ctrl-C that hits the
asking process and all its group leaves the guard to tidy up. It holds the reading end of a pipe
whose writing end only the asking process has, so that its death, however sudden, is an end of file.
"""

from __future__ import annotations

import json
import os
import pwd
import select
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

import psutil

_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Order:
    """What to run and how to end it."""

    command: list[str]
    parent: int
    """Process id of the asking process."""
    account: str | None
    """Run the server as this user."""
    stop_signal: int
    """What the server takes as a request to end in order."""
    grace_seconds: float
    """How long it may take to do so."""
    lock: int
    """A file descriptor that the server keeps open."""

    def as_argument(self) -> str:
        """Return the order as one command-line argument."""
        return json.dumps(asdict(self))


def family(pid: int) -> list[psutil.Process]:
    """Return the process and all its descendants, parents first; empty when it has ended."""
    with suppress(psutil.NoSuchProcess):
        server = psutil.Process(pid)
        return [server, *server.children(recursive=True)]
    return []


def each(processes: Iterable[psutil.Process], action: str) -> None:
    """Do `action` (a method: suspend, resume, kill) to those of the processes that still live."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            getattr(process, action)()


def run(order: Order) -> int:
    """Run the server until it ends or the asking process is gone; return its exit status."""
    server = subprocess.Popen(
        order.command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        pass_fds=[order.lock],
        start_new_session=True,
        **_as_user(order.account),
    )
    try:
        print(server.pid, flush=True)
        while server.poll() is None and _wanted(order.parent):
            pass
    finally:
        _end(server, order)
    return server.wait()


def _as_user(account: str | None) -> dict[str, Any]:
    if account is None:
        return {}
    return {"user": account, "group": pwd.getpwnam(account).pw_gid, "extra_groups": []}


def _wanted(parent: int) -> bool:
    """Wait a moment for the pipe's end; a forked copy of the parent may hold it open after it."""
    readable, _, _ = select.select([sys.stdin], [], [], _LOOK_SECONDS)
    return not readable and os.getppid() == parent


def _end(server: subprocess.Popen[bytes], order: Order) -> None:
    processes = family(server.pid)
    each(processes, "resume")  # A paused process does not hear a signal to stop.
    if server.poll() is None:
        server.send_signal(order.stop_signal)
        with suppress(subprocess.TimeoutExpired):
            server.wait(order.grace_seconds)
    each(processes, "kill")


def _asked_to_end(*_: object) -> NoReturn:
    sys.exit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _asked_to_end)
    sys.exit(run(Order(**json.loads(sys.argv[1]))))
