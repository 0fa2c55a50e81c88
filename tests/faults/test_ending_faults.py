"""Workers that end themselves: one clear line, a status that is not zero, and nothing lost."""

from __future__ import annotations

import json
import shutil

import pytest

from support.processes import Worker
from support.scene import SUPERVISED, Scene, database_away

pytestmark = pytest.mark.fault


def says_why(worker: Worker, event: str) -> str:
    """Return the reason of the one line that tells the end; there is no traceback around it."""
    lines = worker.log.read_text().splitlines()
    assert not worker.says("Traceback")
    (told,) = [json.loads(line) for line in lines if f'"event": "{event}"' in line]
    assert told["level"] == "critical"
    return str(told["reason"])


@pytest.mark.parametrize(
    ("moment", "done"),
    [
        pytest.param("store.after_copy", "stored", id="store_hangs"),
        pytest.param("ack.before", "read", id="event_loop_hangs", marks=pytest.mark.slow_fault),
    ],
)
def test_a_worker_in_which_nothing_moves_ends_itself(scene: Scene, moment: str, done: str) -> None:
    wedged = scene.start_worker(
        **SUPERVISED, INTENTLOOP_FAILPOINT=f"{moment}:5:hang", INTENTLOOP_STALL_SECONDS="4"
    )
    scene.traffic()

    scene.ended(wedged, status=1)
    assert f"nothing was {done} for 4 s" in says_why(wedged, "stalled")
    scene.start_worker(**SUPERVISED)

    scene.recovers()
    scene.ends_well()


@pytest.mark.slow_fault
def test_a_worker_that_waits_for_the_database_is_not_stalled(scene: Scene) -> None:
    worker = scene.start_worker(INTENTLOOP_STALL_SECONDS="3", INTENTLOOP_FALLBACK_MAX_MB="1")
    scene.traffic(pace=600)
    scene.flows()

    with database_away(scene.url):
        scene.eventually(lambda: worker.says("spool_failed"), 60, "the spool is full")
        scene.lasts(8)

    scene.recovers()
    scene.ends_well()
    assert worker.process.poll() is None


def test_an_unusable_fallback_folder_is_said_at_once(scene: Scene) -> None:
    """Without a place for what the database does not take the worker does not begin."""
    scene.fallback.write_text("a file, not a folder")
    scene.traffic()

    refused = scene.start_worker(**SUPERVISED)
    scene.ended(refused, status=1)
    reason = says_why(refused, "worker_ends")
    assert str(scene.fallback) in reason
    assert "FALLBACK_DIR" in reason

    scene.fallback.unlink()
    scene.start_worker(**SUPERVISED)
    scene.recovers()
    scene.ends_well()


@pytest.mark.slow_fault
def test_a_fallback_folder_that_becomes_unusable_costs_nothing(scene: Scene) -> None:
    """The database takes everything; when it is away too, Kafka keeps what comes."""
    worker = scene.start_worker(INTENTLOOP_STALL_SECONDS="3")
    scene.traffic()
    scene.flows()

    shutil.rmtree(scene.fallback)
    scene.fallback.write_text("a file, not a folder")
    scene.flows()
    with database_away(scene.url):
        scene.eventually(lambda: worker.says("spool_failed"), 60, "the folder is missed")
        scene.lasts(5)
    scene.recovers()
    scene.fallback.unlink()

    scene.ends_well()
    assert worker.process.poll() is None
