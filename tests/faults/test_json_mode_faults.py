"""Workers that die where there is no database: their files are all there is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from intentloop_sink.spool import waiting
from support.scene import SUPERVISED, Scene

pytestmark = pytest.mark.fault
FILES = {"DATABASE_URL": ""}
OTHER = {"INTENTLOOP_INSTANCE_ID": "other"}


def in_files(scene: Scene) -> int:
    """Return how many events all files hold."""
    return sum(extent.events for extent in waiting(scene.fallback).values())


def replay(scene: Scene) -> None:
    """Bring everything into the database, as an operator does."""
    environment = {"DATABASE_URL": scene.url, "FALLBACK_DIR": str(scene.fallback)}
    command = [sys.executable, "-m", "intentloop_cli", "replay"]
    subprocess.run(command, env={**os.environ, **environment}, check=True, timeout=60)


@pytest.mark.parametrize(
    "moment",
    [
        "spool.before_fsync:5",
        pytest.param("spool.after_fsync:5", marks=pytest.mark.slow_fault),
        pytest.param("ack.before:5", marks=pytest.mark.slow_fault),
    ],
)
def test_worker_killed_while_files_are_the_store(scene: Scene, moment: str) -> None:
    """It comes back; another that shares its folder is killed too; then there is a database."""
    worker = scene.start_worker(**SUPERVISED, **FILES, INTENTLOOP_FAILPOINT=moment)
    scene.traffic()
    scene.ended(worker)
    worker = scene.start_worker(**SUPERVISED, **FILES)
    other = scene.start_worker(**OTHER, **FILES)
    scene.eventually(lambda: list(scene.fallback.glob("other/*.jsonl")), 90, "both store")
    other.kill()
    wanted = scene.history.accepted + 1_000
    scene.eventually(lambda: in_files(scene) > wanted, 90, "one goes on with all partitions")
    worker.kill()

    replay(scene)
    scene.start_worker(**SUPERVISED)
    scene.ends_well()
