"""What waits in files goes into the store as soon as it is back."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from intentloop_sink import PostgresSink
from intentloop_sink.spool import Replayer, Spool, SpoolError, replay_all

WRITER_PREFIX = "api-"
"""Begins the names of API processes, and so of their folders."""
_LOOK_SECONDS = 0.5
_PAUSE_SECONDS = 1.0
_ADOPTION_SECONDS = 30.0

log = structlog.get_logger(__name__)


async def replay(spool: Spool, sink: PostgresSink, thread: ThreadPoolExecutor) -> None:
    """Replay this process's own files, group by group, until cancelled.

    The steps run in the thread that also writes, so that neither overtakes the other.
    """
    replayer = Replayer(spool, sink)
    while True:
        if spool.is_empty:
            await asyncio.sleep(_LOOK_SECONDS)
            continue
        step = await asyncio.get_running_loop().run_in_executor(thread, replayer.step)
        if step.error or step.is_over:
            log.info("replay_waits", error=step.error, waiting=spool.events)
            await asyncio.sleep(_PAUSE_SECONDS)
        else:
            log.info("replayed", stored=step.stored, waiting=spool.events)


async def adopt_orphans(folder: Path, sink: PostgresSink) -> None:
    """Replay, now and then, what API processes left in files that did not come back."""
    while True:
        try:
            await asyncio.to_thread(replay_all, folder, sink, writers=f"{WRITER_PREFIX}*")
        except SpoolError as error:
            log.warning("orphan_not_replayed", error=str(error))
        await asyncio.sleep(_ADOPTION_SECONDS)
