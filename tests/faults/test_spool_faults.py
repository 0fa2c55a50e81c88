"""A fallback folder that is full, torn or corrupted while the database is away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from intentloop_sink.spool import waiting
from support.processes import COMMAND
from support.scene import SUPERVISED, Scene, database_away

pytestmark = pytest.mark.fault
FIRST = {"INTENTLOOP_INSTANCE_ID": "first"}
SECOND = {"INTENTLOOP_INSTANCE_ID": "second"}
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


@pytest.mark.slow_fault
@pytest.mark.parametrize("records", ["still_in_kafka", "deleted"])
def test_spooled_partition_moves_to_another_machine(
    scene: Scene, tmp_path: Path, records: str
) -> None:
    """The other worker reads again what Kafka has; what it has not comes back with the files."""
    first = scene.start_worker(**FIRST)
    scene.traffic()
    scene.flows()
    elsewhere = tmp_path / "elsewhere"

    with database_away(scene.url):
        scene.starts_spooling()
        scene.lasts(2)
        first.kill()
        spooled = {p: entry.next_position for p, entry in waiting(scene.fallback).items()}
        if records == "deleted":
            scene.deletes_records(spooled)
        second = scene.start_worker(**SECOND, FALLBACK_DIR=str(elsewhere))
        scene.eventually(lambda: second.says("store_failed"), 60, "the second is up")
    if records == "deleted":
        scene.goes_past(spooled)
    else:
        scene.recovers()
    assert scene.segments()

    scene.start_worker(**FIRST)
    if records == "deleted":
        scene.recovers()
    # What Kafka had deleted comes after what was stored meanwhile.
    scene.ends_well(in_order=records != "deleted")
    assert not list(elsewhere.glob("*/*.jsonl"))
