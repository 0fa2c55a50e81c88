"""A server that runs as a child process, under a guard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from intentloop_devstack import guard
from intentloop_devstack.claim import Claim
from intentloop_devstack.errors import PortTakenError, StartError
from intentloop_devstack.server import Lifecycle

_READY_SECONDS = 60.0
_TAIL_LINES = 15


@dataclass
class ServerProcess(Lifecycle):
    """One server process: what runs, when it is ready, how it ends."""

    name: str
    command: Sequence[str]
    claim: Claim
    ready: Callable[[], bool]
    """Tells whether it serves; asked again and again, must not block for long."""
    environ: Mapping[str, str]
    account: str | None = None
    """Run as this user."""
    stop_signal: int = signal.SIGTERM
    grace_seconds: float = 15.0
    _guard: subprocess.Popen[str] | None = field(default=None, init=False)
    _pid: int | None = field(default=None, init=False)

    @property
    def pid(self) -> int | None:
        """Process id, None when it does not run."""
        return self._pid if self._runs() else None

    @property
    def log(self) -> Path:
        """Everything the server printed, over all its starts."""
        return self.claim.folder / "server.log"

    def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            PortTakenError: another process listens on its port.
            StartError: it ended, or is not ready within a minute.
        """
        log_start = self.log.stat().st_size if self.log.exists() else 0
        try:
            self._spawn()
            self._await_ready(log_start)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it in order; it is killed when that takes longer than its grace."""
        if self._guard:
            # Words, not only the pipe's end: a forked copy of this process may hold it open.
            self._guard.communicate("stop\n")
        self._guard = None

    def kill(self) -> None:
        """End it and its descendants at once."""
        guard.each(self._family(), "kill")
        if self._guard:
            self._guard.wait()

    def pause(self) -> None:
        """Freeze it and its descendants."""
        while running := [process for process in self._family() if not _frozen(process)]:
            guard.each(running, "suspend")
            time.sleep(0.01)

    def resume(self) -> None:
        """Let a paused server go on."""
        guard.each(self._family(), "resume")

    def restart(self) -> None:
        """Stop it if it runs and start it again."""
        self.stop()
        self.start()

    def _runs(self) -> bool:
        return self._guard is not None and self._guard.poll() is None

    def _family(self) -> list[psutil.Process]:
        return guard.family(self._pid) if self._pid and self._runs() else []

    def _spawn(self) -> None:
        order = guard.Order(
            command=list(self.command),
            parent=os.getpid(),
            account=self.account,
            stop_signal=self.stop_signal,
            grace_seconds=self.grace_seconds,
            lock=self.claim.lock,
        )
        with self.log.open("a") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-P", guard.__file__, order.as_argument()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**self.environ, "LC_ALL": "C"},
                text=True,
                pass_fds=[self.claim.lock],
                start_new_session=True,
            )
        # Without a line the guard has failed, and its log says how.
        self._pid = int(self._guard.stdout.readline() or 0) if self._guard.stdout else None

    def _await_ready(self, log_start: int) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not self.ready():
            if not self._runs():
                raise self._failure("ended at its start", log_start)
            if time.monotonic() > deadline:
                raise self._failure(f"was not ready within {_READY_SECONDS:.0f} s", log_start)
            time.sleep(0.05)

    def _failure(self, what: str, log_start: int) -> StartError:
        text = self.log.read_bytes()[log_start:].decode(errors="replace")
        tail = "\n".join(text.splitlines()[-_TAIL_LINES:])
        error = PortTakenError if "Address already in use" in text else StartError
        return error(f"{self.name} {what}. The end of {self.log}:\n{tail}")


def _frozen(process: psutil.Process) -> bool:
    try:
        return process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
