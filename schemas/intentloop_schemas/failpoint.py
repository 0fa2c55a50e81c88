"""Failpoints: named moments at which a test ends or freezes the process.

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

_STOP = "stop"


def no_failpoint(_name: str) -> None:
    """Do nothing."""


@dataclass
class _Fatal:
    """Sends the process a signal when a moment has come for the `nth` time."""

    name: str
    nth: int
    signal: int
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, name: str) -> None:
        if name != self.name:
            return
        with self._turn:
            self.nth -= 1
            is_now = self.nth == 0
        if is_now:
            # To this thread: sent to the process, it would let this thread run on for a moment.
            signal.pthread_kill(threading.get_ident(), self.signal)


def from_setting(text: str) -> Failpoint:
    """Return what INTENTLOOP_FAILPOINT asks for; nothing when it is empty.

    `store.after_copy` kills the process there, `store.after_copy:3` the third time,
    `store.after_copy:3:stop` freezes it. Raises ValueError for anything else.
    """
    if not text:
        return no_failpoint
    name, *options = text.split(":")
    action = options.pop() if options[-1:] == [_STOP] else None
    nth = options.pop() if options else "1"
    if options or not name or not nth.isdecimal() or int(nth) == 0:
        raise ValueError(f"{text!r} is no failpoint: write it as name, name:3 or name:3:stop")
    return _Fatal(name, int(nth), signal.SIGSTOP if action else signal.SIGKILL)


def _checked(text: str) -> str:
    from_setting(text)
    return text


class FailpointSettings(BaseSettings):
    """For tests alone, which is why `intentloop settings` does not list it."""

    model_config = SettingsConfigDict(frozen=True, validate_by_name=True)

    failpoint: Annotated[str, AfterValidator(_checked)] = Field("", alias="INTENTLOOP_FAILPOINT")
