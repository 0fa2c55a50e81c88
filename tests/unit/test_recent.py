"""Answers that may be a little old."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

from intentloop_admin.recent import Recent


def test_an_answer_is_asked_for_once_while_it_is_fresh() -> None:
    async def scene() -> list[int]:
        now = 0.0
        numbers = count()

        async def ask() -> int:
            await asyncio.sleep(0)
            return next(numbers)

        recent = Recent(60, clock=lambda: now)
        first = await asyncio.gather(*(recent.get("a", ask) for _ in range(5)))
        other = await recent.get("b", ask)
        now = 61.0
        return [*first, other, await recent.get("a", ask)]

    assert asyncio.run(scene()) == [0, 0, 0, 0, 0, 1, 2]


def test_a_failure_is_not_remembered() -> None:
    async def scene() -> int:
        recent = Recent(60, clock=lambda: 0.0)

        async def fail() -> int:
            raise OSError("away")

        async def answer() -> int:
            return 7

        with pytest.raises(OSError, match="away"):
            await recent.get("a", fail)
        return await recent.get("a", answer)

    assert asyncio.run(scene()) == 7
