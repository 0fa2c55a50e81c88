"""Chatbots that die, run out of disk, or have a wrong clock, while the broker is away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from intentloop_devstack import KafkaServer
from support.changes import JUMPING_CLOCK
from support.scene import BOT_PACE, SOON, Scene

pytestmark = pytest.mark.fault
FULL_DISK = """
import errno
true_write, room = os.write, 30_000
def write(descriptor, data):
    global room
    if "/journal/" in os.readlink(f"/proc/self/fd/{descriptor}"):
        if len(data) > room:
            raise OSError(errno.ENOSPC, "No space left on device")
        room -= len(data)
    return true_write(descriptor, data)
os.write = write
"""


@pytest.fixture
def kafka(own_kafka: KafkaServer) -> KafkaServer:
    return own_kafka


@contextmanager
def broker_away(kafka: KafkaServer) -> Iterator[None]:
    kafka.kill()
    try:
        yield
    finally:
        kafka.restart()


def talks_on(scene: Scene, calls: float) -> None:
    """Wait until the newest bot has called log() so many times more."""
    wanted = len(scene.bots[-1].said()) + calls
    scene.eventually(lambda: len(scene.bots[-1].said()) >= wanted, 60, "the bot talks on")


@pytest.mark.slow_fault
def test_bot_killed_while_the_broker_is_away(scene: Scene, kafka: KafkaServer) -> None:
    scene.start_worker(**SOON)
    bot = scene.bot()
    scene.flows()

    with broker_away(kafka):
        began = time.monotonic()
        talks_on(scene, 3 * BOT_PACE)
        bot.kill()
    ended = time.monotonic()
    scene.says_quickly(bot, began)
    scene.bot()

    scene.recovers(since=ended)
    verdict = scene.ends_well()
    scene.figure("lost_in_the_last_moment", verdict.last_moment)


@pytest.mark.slow_fault
def test_disk_full_in_the_journal_while_the_broker_is_away(
    scene: Scene, kafka: KafkaServer
) -> None:
    """What has no room on disk waits in memory."""
    scene.start_worker(**SOON)
    bot = scene.bot(change=FULL_DISK)
    scene.flows()

    with broker_away(kafka):
        began = time.monotonic()
        talks_on(scene, 4 * BOT_PACE)
    ended = time.monotonic()

    scene.recovers(since=ended)
    scene.says_quickly(bot, began)
    counts = bot.finish()
    assert counts["unjournaled"] > BOT_PACE
    assert counts["failed"] == counts["dropped"] == 0
    scene.ends_well()


@pytest.mark.slow_fault
def test_journal_full_while_the_broker_is_away(scene: Scene, kafka: KafkaServer) -> None:
    """What it has no room for is refused and counted, so that the bot knows."""
    scene.start_worker(**SOON)
    bot = scene.bot(pace=1_500, INTENTLOOP_JOURNAL_MAX_MB="1")
    scene.flows()

    with broker_away(kafka):
        began = time.monotonic()
        refused = lambda: any(one.event is None for one in bot.said())  # noqa: E731 - read as a word
        scene.eventually(refused, 60, "the journal is full")
        talks_on(scene, 1_000)
    ended = time.monotonic()

    scene.recovers(since=ended)
    scene.says_quickly(bot, began)
    counts = bot.finish()
    scene.figure("refused", counts["dropped"])
    assert counts["dropped"] == sum(one.event is None for one in bot.said())
    scene.ends_well()


@pytest.mark.slow_fault
def test_bot_killed_whose_clock_jumps_while_the_broker_is_away(
    scene: Scene, kafka: KafkaServer
) -> None:
    """Hours to and fro, every second: in the events, and in the names of the journal's files."""
    scene.start_worker(**SOON)
    bot = scene.bot(change=JUMPING_CLOCK)
    scene.flows()

    with broker_away(kafka):
        talks_on(scene, 6 * BOT_PACE)
        bot.kill()
    ended = time.monotonic()
    scene.bot(change=JUMPING_CLOCK)

    scene.recovers(since=ended)
    scene.ends_well()
