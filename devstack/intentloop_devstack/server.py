"""A handle on a running server, the same for a process, a container and one given from outside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from intentloop_devstack.errors import NotOursError


class Lifecycle(Protocol):
    """What can be done to a server from outside it; every call blocks until it is done."""

    @property
    def pid(self) -> int | None:
        """Process id, None when it is not ours or not running."""

    @property
    def log(self) -> Path | None:
        """The file that the server writes its log to."""

    def stop(self) -> None:
        """End it in its own orderly way; nothing happens when it has ended."""

    def kill(self) -> None:
        """End it and all its processes at once (SIGKILL), as a crash would."""

    def pause(self) -> None:
        """Freeze it and all its processes (SIGSTOP): connections stay open, nothing answers."""

    def resume(self) -> None:
        """Let a paused server go on."""

    def restart(self) -> None:
        """Stop it if it runs, then start it on the same ports and data and wait until ready."""


class Given:
    """The lifecycle of a server that was there before us: hands off."""

    pid = None
    log = None

    def __init__(self, variable: str) -> None:
        self._variable = variable

    def stop(self) -> None:
        """Leave it running."""

    def kill(self) -> None:
        """Raise NotOursError."""
        raise NotOursError(f"the server was given by {self._variable}; unset it to start one here")

    pause = resume = restart = kill


@dataclass
class Server:
    """A server and what a caller may want to know and do about it."""

    lifecycle: Lifecycle
    kind: str
    """The road that was taken."""
    about: str
    """What it is and where its data lies."""
    passed_over: tuple[str, ...] = ()
    """Why each better road was closed."""

    @property
    def description(self) -> str:
        """One line for a person: what was chosen, and why nothing better."""
        return self.about + (
            f" (not {'; not '.join(self.passed_over)})" if self.passed_over else ""
        )

    @property
    def pid(self) -> int | None:
        """Process id, None when it is not ours or not running."""
        return self.lifecycle.pid

    @property
    def log(self) -> Path | None:
        """The file that the server writes its log to, None when it is elsewhere."""
        return self.lifecycle.log

    def stop(self) -> None:
        """End it in its own orderly way. Blocks until it has ended."""
        self.lifecycle.stop()

    def kill(self) -> None:
        """End it and all its processes at once (SIGKILL), as a crash would. Blocks."""
        self.lifecycle.kill()

    def pause(self) -> None:
        """Freeze it and all its processes (SIGSTOP): connections stay open, nothing answers."""
        self.lifecycle.pause()

    def resume(self) -> None:
        """Let a paused server go on."""
        self.lifecycle.resume()

    def restart(self) -> None:
        """Stop it if it runs, start it on the same ports and data. Blocks until it is ready."""
        self.lifecycle.restart()
