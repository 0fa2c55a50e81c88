"""Failpoints: named moments at which a test ends, freezes or wedges the process.

Between two steps that must not come apart there is a call with a name. It does nothing, unless
INTENTLOOP_FAILPOINT names it: what a crash at that very moment does can then be seen.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

Failpoint = Callable[[str], None]
"""Called with the name of the moment that has come."""

_ACTIONS = ("kill", "stop", "hang")


def no_failpoint(_name: str) -> None:
    """Do nothing."""


@dataclass
class _Failpoint:
    """Acts when a moment has come for the `nth` time."""

    name: str
    nth: int
    action: str
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, name: str) -> None:
        if name != self.name:
            return
        with self._turn:
            self.nth -= 1
            is_now = self.nth == 0
        if is_now:
            self._act()

    def _act(self) -> None:
        if self.action == "hang":
            threading.Event().wait()
        # To this thread: sent to the process, it would let this thread run on for a moment.
        fatal = signal.SIGSTOP if self.action == "stop" else signal.SIGKILL
        signal.pthread_kill(threading.get_ident(), fatal)


def from_setting(text: str) -> Failpoint:
    """Return what INTENTLOOP_FAILPOINT asks for; nothing when it is empty.

    `store.after_copy` kills the process there, `store.after_copy:3` the third time,
    `store.after_copy:3:stop` freezes it, `store.after_copy:3:hang` only the thread that comes
    there. Raises ValueError for anything else.
    """
    if not text:
        return no_failpoint
    name, *options = text.split(":")
    action = options.pop() if options[-1:] and options[-1] in _ACTIONS else _ACTIONS[0]
    nth = options.pop() if options else "1"
    if options or not name or not nth.isdecimal() or int(nth) == 0:
        raise ValueError(f"{text!r} is no failpoint: write it as name, name:3 or name:3:stop")
    return _Failpoint(name, int(nth), action)


def _checked(text: str) -> str:
    from_setting(text)
    return text


class FailpointSettings(BaseSettings):
    """For tests alone, which is why `intentloop settings` does not list it."""

    model_config = SettingsConfigDict(frozen=True, validate_by_name=True)

    failpoint: Annotated[str, AfterValidator(_checked)] = Field("", alias="INTENTLOOP_FAILPOINT")
