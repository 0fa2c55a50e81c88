"""Requests that come at the same time share a transaction."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from intentloop_admin.ingest.post import Post
from intentloop_admin.ingest.writer import NotTakenError, Writer
from intentloop_admin.metrics import Metrics

GROUP_ENTRIES = 10_000
"""Conversations in one transaction."""
SMALL_GROUP_ENTRIES = 1_000
"""From so many on a group may be one of two; fewer are not worth two transactions."""
MAX_WAITING_ENTRIES = 3 * GROUP_ENTRIES
"""Conversations that wait for the store in memory; more are turned away."""


class Intake:
    """Gathers what comes while a group is being stored into the next one.

    Args:
        writer: encodes requests here, and stores groups in a thread, one at a time.
        metrics: told how large the groups are.
    """

    def __init__(self, writer: Writer, metrics: Metrics) -> None:
        self._writer = writer
        self._metrics = metrics
        self._waiting: deque[tuple[Post, asyncio.Future[None]]] = deque()
        self._waiting_entries = 0
        self._some = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.thread = ThreadPoolExecutor(1, "store")

    async def put(self, post: Post) -> None:
        """Return when a request is safe.

        Raises NotTakenError when there is no room, in the store, on the disk or in memory.
        """
        if self._waiting_entries >= MAX_WAITING_ENTRIES:
            raise NotTakenError("too many conversations wait for the store")
        self._writer.encode(post)
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((post, done))
        self._waiting_entries += len(post.entries)
        self._some.set()
        self._idle.clear()
        await done

    async def run(self) -> None:
        """Store what comes, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._some.wait()
            group = self._take_group()
            posts = [post for post, _ in group]
            self._metrics.groups.observe(sum(len(post.entries) for post in posts))
            try:
                await loop.run_in_executor(self.thread, self._writer.write, posts)
            except Exception as error:  # noqa: BLE001 - the next group has its own luck
                _answer(group, error)
            else:
                _answer(group, None)
            if not self._waiting:
                self._idle.set()

    async def idle(self) -> None:
        """Wait until everything that came is safe, or refused."""
        await self._idle.wait()

    def _take_group(self) -> list[tuple[Post, asyncio.Future[None]]]:
        group = []
        entries = 0
        # Half, so that some are answered, and send again, while the others are stored.
        enough = min(GROUP_ENTRIES, max(SMALL_GROUP_ENTRIES, self._waiting_entries // 2))
        while self._waiting and entries < enough:
            group.append(self._waiting.popleft())
            entries += len(group[-1][0].entries)
        self._waiting_entries -= entries
        if not self._waiting:
            self._some.clear()
        return group


def _answer(group: list[tuple[Post, asyncio.Future[None]]], error: Exception | None) -> None:
    for _, done in group:
        if done.done():
            # The client has gone; what it sent is safe all the same.
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
