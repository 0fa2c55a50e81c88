"""A fallback folder that is full, torn or corrupted while the database is away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.processes import COMMAND
from support.scene import SUPERVISED, Scene, database_away

pytestmark = pytest.mark.fault
FULL = {
    "bounded": {"INTENTLOOP_FALLBACK_MAX_MB": "1"},
    "file_size": {"command": ("prlimit", "--fsize=300000", *COMMAND)},
}


def tear(segment: Path) -> None:
    """Leave half a line at the end, as a crash within a write does."""
    whole = segment.read_bytes()
    segment.write_bytes(whole + whole[: len(whole) // 3].rstrip(b"\n"))


def cut(segment: Path) -> None:
    """Lose the end of the last line, which Kafka has been told is safe."""
    segment.write_bytes(segment.read_bytes()[:-100])


def corrupt(segment: Path) -> None:
    """Change one byte in the middle."""
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 0x55
    segment.write_bytes(data)


def empty(segment: Path) -> None:
    segment.write_bytes(b"")


@pytest.mark.parametrize(
    "harm",
    [*(pytest.param(harm, marks=pytest.mark.slow_fault) for harm in (tear, cut, empty)), corrupt],
)
def test_segment_harmed(scene: Scene, harm: Callable[[Path], None]) -> None:
    worker = scene.start_worker(**SUPERVISED)
    scene.traffic()
    scene.flows()

    with database_away(scene.url):
        scene.starts_spooling()
        taken = scene.history.accepted + 200
        scene.eventually(lambda: scene.history.accepted > taken, 10, "more traffic")
        worker.kill()
        harm(scene.segments()[-1])
    scene.start_worker(**SUPERVISED)

    scene.recovers()
    scene.ends_well()


@pytest.mark.parametrize(
    "bound", ["bounded", pytest.param("file_size", marks=pytest.mark.slow_fault)]
)
def test_disk_full_while_the_database_is_away(scene: Scene, bound: str) -> None:
    worker = scene.start_worker(**FULL[bound])
    scene.traffic(pace=600)
    scene.flows()
    scene.catches_up()

    with database_away(scene.url):
        scene.eventually(lambda: worker.says("spool_failed"), 20, "the spool is full")
        spooled = sum(path.stat().st_size for path in scene.segments())
        scene.figure("spooled_bytes", spooled)
        assert spooled

    scene.recovers()
    scene.ends_well()
