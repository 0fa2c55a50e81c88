"""Answers that may be a little old: asked once for all who want them within a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar, cast

MAX_ANSWERS = 1_000

T = TypeVar("T")


class Recent:
    """Remembers answers for some seconds. Questions asked meanwhile wait for the one under way.

    Args:
        seconds: how old an answer may be.
        clock: monotonic time in seconds.
    """

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._answers: dict[Hashable, tuple[float, asyncio.Future[Any]]] = {}

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """Return the answer to a question that `key` names; what `ask` raises is not remembered."""
        now = self._clock()
        asked_at, answer = self._answers.get(key, (float("-inf"), None))
        if answer is None or now - asked_at > self._seconds:
            self._forget(now)
            answer = asyncio.ensure_future(ask())
            self._answers[key] = (now, answer)
        try:
            # A visitor who leaves does not take the answer away from the others.
            return cast("T", await asyncio.shield(answer))
        except BaseException:
            if answer.done():
                self._answers.pop(key, None)
            raise

    def _forget(self, now: float) -> None:
        fresh = {k: v for k, v in self._answers.items() if now - v[0] <= self._seconds}
        self._answers = fresh if len(fresh) < MAX_ANSWERS else {}
