"""How requests that come at the same time are gathered into transactions."""

from __future__ import annotations

import asyncio
from threading import Event, Semaphore
from typing import Any, cast

from intentloop_admin.ingest import Intake, Post
from intentloop_admin.metrics import Metrics


class HeldWriter:
    """Notes how many requests each group has; the next is written when it is told to go on."""

    def __init__(self) -> None:
        self.groups: list[int] = []
        self.begun = Event()
        self.go_on = Semaphore(0)

    def encode(self, post: Post) -> None:
        """Do nothing."""

    def write(self, posts: list[Post]) -> None:
        """Block until it may go on."""
        self.groups.append(len(posts))
        self.begun.set()
        self.go_on.acquire()


def post(entries: int) -> Post:
    return Post(cast("Any", [None] * entries))


def groups_of(waiting: int, entries: int) -> list[int]:
    """Return the groups in which requests are written that came while another was."""
    writer = HeldWriter()

    async def gather() -> None:
        intake = Intake(cast("Any", writer), Metrics())
        running = asyncio.create_task(intake.run())
        puts = [asyncio.create_task(intake.put(post(1)))]
        await asyncio.to_thread(writer.begun.wait)
        puts += [asyncio.create_task(intake.put(post(entries))) for _ in range(waiting)]
        await asyncio.sleep(0)
        writer.go_on.release(waiting + 1)
        await asyncio.gather(*puts)
        running.cancel()

    asyncio.run(gather())
    return writer.groups[1:]


def test_large_requests_are_written_by_halves() -> None:
    """While one half is stored, those of the other are answered and send again."""
    assert groups_of(8, 1_000) == [4, 2, 1, 1]


def test_small_requests_share_one_transaction() -> None:
    assert groups_of(32, 10) == [32]
