"""Workers that die or freeze at the worst moments."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from support.changes import JUMPING_CLOCK
from support.processes import ChangedWorker
from support.scene import SOON, SUPERVISED, Scene, database_away

pytestmark = pytest.mark.fault
IN_TRANSACTION = [
    "store.before_copy",
    "store.after_copy",
    "store.before_commit",
    "store.after_commit",
    "ack.before",
]
KILLS = 20
TAKEOVER_SECONDS = 14.0
"""6 s of session timeout, 3 s behind the lock of the frozen one, and a start."""


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("store.before_copy", marks=pytest.mark.slow_fault),
        "store.after_copy",
        pytest.param("store.before_commit", marks=pytest.mark.slow_fault),
        pytest.param("store.after_commit", marks=pytest.mark.slow_fault),
        "ack.before",
    ],
)
def test_worker_killed_in_its_transaction(scene: Scene, moment: str) -> None:
    worker = scene.start_worker(**SUPERVISED, INTENTLOOP_FAILPOINT=f"{moment}:5")
    scene.traffic()
    scene.ended(worker)

    scene.start_worker(**SUPERVISED)

    scene.recovers()
    scene.ends_well()


@pytest.mark.parametrize(
    "moment",
    ["spool.before_fsync:3", pytest.param("spool.after_fsync:3", marks=pytest.mark.slow_fault)],
)
def test_worker_killed_around_the_spool_s_fsync(scene: Scene, moment: str) -> None:
    worker = scene.start_worker(**SUPERVISED, INTENTLOOP_FAILPOINT=moment)
    scene.traffic()
    scene.flows()

    with database_away(scene.url):
        scene.ended(worker)
        scene.start_worker(**SUPERVISED)

    scene.recovers()
    scene.ends_well()


def test_worker_killed_in_replay_before_its_files_are_removed(scene: Scene) -> None:
    worker = scene.start_worker(**SUPERVISED, INTENTLOOP_FAILPOINT="replay.after_commit")
    scene.traffic()
    scene.flows()

    with database_away(scene.url):
        scene.starts_spooling()
    scene.ended(worker)
    assert scene.segments()
    scene.start_worker(**SUPERVISED)

    scene.recovers()
    scene.ends_well()


@pytest.mark.slow_fault
@pytest.mark.timeout(900)
def test_twenty_random_kills(scene: Scene) -> None:
    """INTENTLOOP_FAULT_SEED repeats them: at which moments, or after which time."""
    scene.seed = int(os.environ.get("INTENTLOOP_FAULT_SEED") or random.randrange(10_000))
    scene.figure("seed", scene.seed)
    chance = random.Random(scene.seed)
    scene.traffic()

    for _ in range(KILLS // 2):
        moment = f"{chance.choice(IN_TRANSACTION)}:{chance.randrange(1, 12)}"
        scene.ended(scene.start_worker(**SUPERVISED, INTENTLOOP_FAILPOINT=moment))
        worker = scene.start_worker(**SUPERVISED)
        scene.lasts(chance.uniform(0.5, 6))
        worker.kill()
    scene.start_worker(**SUPERVISED)

    scene.recovers()
    scene.ends_well()


@pytest.mark.slow_fault
def test_worker_whose_clock_jumps(scene: Scene, changed_worker: ChangedWorker) -> None:
    """Its batches are closed all the same, and nothing that is stored depends on its clock."""
    worker = scene.start_worker(command=changed_worker(JUMPING_CLOCK), **SOON)
    scene.traffic()
    scene.bot()
    scene.flows()

    scene.lasts(8)

    scene.recovers()
    scene.ends_well()
    assert worker.process.poll() is None


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("", id="anywhere", marks=pytest.mark.slow_fault),
        pytest.param("store.after_copy:5:stop", id="in_copy"),
    ],
)
def test_worker_frozen_past_its_session_while_another_takes_over(scene: Scene, moment: str) -> None:
    frozen = scene.start_worker(INTENTLOOP_FAILPOINT=moment)
    scene.traffic()
    if not moment:
        scene.flows()
        frozen.process.send_signal(signal.SIGSTOP)
    scene.eventually(lambda: scene.is_frozen(frozen), 20, "the worker is frozen")
    began, wanted = time.monotonic(), scene.history.accepted + 100

    other = scene.start_worker()
    scene.eventually(lambda: scene.stored() >= wanted, 30, "the other has taken over")
    scene.figure("takeover_seconds", round(time.monotonic() - began, 2))
    assert time.monotonic() - began < TAKEOVER_SECONDS
    scene.wakes(frozen)

    scene.recovers()
    scene.ends_well()
    assert frozen.process.poll() is None
    assert other.process.poll() is None
