"""Workers that break the promise in known ways: the oracle must find each of them out."""

from __future__ import annotations

import ast
from functools import partial
from itertools import islice
from pathlib import Path

import pytest

from intentloop_sink.spool import waiting
from support import mutants, tables
from support.oracle import Verdict
from support.processes import ChangedWorker
from support.scene import SUPERVISED, Scene, database_away
from support.traffic import hostile_traffic, unrepeated

pytestmark = pytest.mark.slow_fault

UNCHANGED = ""


def read_to_the_end(scene: Scene) -> Verdict:
    """Wait until the store claims to have everything, right or wrong, and let the oracle judge."""
    for client in scene.clients:
        client.stop()
        client.finish()
    sql = "SELECT coalesce(sum(next_position), 0) FROM ingest_offset"
    accepted = scene.history.accepted
    scene.eventually(lambda: tables.query(scene.url, sql) == [(accepted,)], 90, "all is read")
    return scene.judge()


def test_an_unchanged_worker_passes(scene: Scene, changed_worker: ChangedWorker) -> None:
    scene.start_worker(command=changed_worker(UNCHANGED))
    scene.traffic(islice(scene.hostile(), 1_000)).finish()

    read_to_the_end(scene).require_exactly_once()


def test_acknowledging_before_the_commit(scene: Scene, changed_worker: ChangedWorker) -> None:
    command = changed_worker(mutants.ACKNOWLEDGE_BEFORE_THE_COMMIT)
    worker = scene.start_worker(
        command=command, INTENTLOOP_FAILPOINT="store.after_copy:5", **SUPERVISED
    )
    scene.traffic()
    scene.ended(worker)
    scene.start_worker(command=command, **SUPERVISED)

    assert read_to_the_end(scene).lost > 0


def test_plain_take(scene: Scene, changed_worker: ChangedWorker) -> None:
    scene.start_worker(command=changed_worker(mutants.PLAIN_TAKE))
    scene.traffic()
    scene.flows()
    with database_away(scene.url):
        scene.lasts(2)
    scene.flows()

    assert read_to_the_end(scene).lost > 0


def test_statistics_added_for_duplicates_too(scene: Scene, changed_worker: ChangedWorker) -> None:
    scene.start_worker(command=changed_worker(mutants.COUNT_DUPLICATES))
    scene.traffic()
    scene.flows(1_500)

    verdict = read_to_the_end(scene)
    assert verdict.drift > 0
    assert verdict.lost == verdict.duplicated == 0


@pytest.mark.parametrize(
    ("change", "duplicated"),
    [
        pytest.param(mutants.LOOK_NOTHING_UP, True, id="left_out"),
        pytest.param(mutants.ALWAYS_CAREFUL, False, id="unchanged"),
    ],
)
def test_on_conflict_left_out(
    scene: Scene, changed_worker: ChangedWorker, change: str, duplicated: bool
) -> None:
    """Events are looked up instead; without unique ids that alone keeps them apart."""
    tables.query(scene.url, mutants.ANY_ID_TWICE)
    scene.start_worker(command=changed_worker(change))
    scene.traffic()
    scene.flows(1_500)

    verdict = read_to_the_end(scene)
    assert (verdict.duplicated > 0) is duplicated


def test_unlink_before_the_commit(scene: Scene, changed_worker: ChangedWorker) -> None:
    """Kafka would have the records once more: here it has deleted them."""
    command = changed_worker(mutants.UNLINK_BEFORE_THE_COMMIT)
    worker = scene.start_worker(
        command=command, INTENTLOOP_FAILPOINT="replay.after_unlink", **SUPERVISED
    )
    scene.traffic()
    scene.flows()
    with database_away(scene.url):
        scene.starts_spooling()
        scene.lasts(2)
        spooled = {p: extent.next_position for p, extent in waiting(scene.fallback).items()}
        scene.deletes_records(spooled)
    scene.ended(worker)
    scene.start_worker(command=command, **SUPERVISED)

    assert read_to_the_end(scene).lost > 0


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        pytest.param(mutants.NO_FSYNC, True, id="left_out"),
        pytest.param(mutants.NOTE_EACH_FSYNC, False, id="unchanged"),
    ],
)
def test_fsync_left_out(
    scene: Scene, changed_worker: ChangedWorker, tmp_path: Path, change: str, lost: bool
) -> None:
    ledger = tmp_path / "synced"
    ledger.touch()
    worker = scene.start_worker(command=changed_worker(change), SYNCED=str(ledger), **SUPERVISED)
    scene.traffic()
    scene.flows()
    with database_away(scene.url):
        scene.starts_spooling()
        told = partial(kafka_was_told_of_the_spool, scene)
        scene.eventually(told, 30, "Kafka is told that what waits in the spool is safe")
        worker.kill()
        scene.deletes_records(scene.acknowledged())
        drop_what_is_not_synced(scene, ledger)
    scene.start_worker(**SUPERVISED)

    verdict = read_to_the_end(scene)
    assert (verdict.lost > 0) is lost


def kafka_was_told_of_the_spool(scene: Scene) -> bool:
    spooled = {p.partition: extent for p, extent in waiting(scene.fallback).items()}
    return any(
        at > spooled[p.partition].first_position
        for p, at in scene.acknowledged().items()
        if p.partition in spooled
    )


def drop_what_is_not_synced(scene: Scene, ledger: Path) -> None:
    """Do to the spool what a crash of the machine may do."""
    synced = dict(ast.literal_eval(line) for line in ledger.read_text().splitlines())
    for segment in scene.segments():
        if segment.name in synced.get(str(segment.parent), ()):
            with segment.open("r+b") as file:
                file.truncate(synced.get(str(segment), 0))
        else:
            segment.unlink()


@pytest.mark.parametrize(
    ("change", "duplicated"),
    [
        pytest.param(mutants.LOCK_NOTHING, True, id="left_out"),
        pytest.param(UNCHANGED, False, id="unchanged"),
    ],
)
def test_offsets_not_locked(
    scene: Scene, changed_worker: ChangedWorker, change: str, duplicated: bool
) -> None:
    """Unique ids and ranges would hold too: here the lock alone does."""
    tables.query(scene.url, mutants.ANY_ID_TWICE)
    tables.query(scene.url, mutants.ANY_RANGE_TWICE)
    command = changed_worker(change)
    frozen = scene.start_worker(command=command, INTENTLOOP_FAILPOINT="store.before_copy:5:stop")
    scene.traffic(unrepeated(scene.hostile()))
    scene.eventually(lambda: scene.is_frozen(frozen), 90, "the worker is frozen")
    scene.start_worker(command=command)
    scene.flows(300)
    scene.wakes(frozen)
    scene.lasts(2)

    verdict = read_to_the_end(scene)
    assert (verdict.duplicated > 0) is duplicated


@pytest.mark.parametrize(
    ("change", "drifts"),
    [
        pytest.param(mutants.WINDOWS_READ_BACK, True, id="read_back"),
        pytest.param(UNCHANGED, False, id="unchanged"),
    ],
)
def test_windows_read_back_instead_of_added_to(
    scene: Scene, changed_worker: ChangedWorker, change: str, drifts: bool
) -> None:
    tables.query(scene.url, mutants.SLOW_COMMIT)
    workers = [scene.start_worker(command=changed_worker(change)) for _ in range(2)]
    for worker in workers:
        scene.eventually(
            lambda worker=worker: worker.says('"assigned"'), 90, "both have their part"
        )
    scene.traffic()
    scene.flows(1_000)

    verdict = read_to_the_end(scene)
    assert (verdict.drift > 0) is drifts
    assert verdict.lost == verdict.duplicated == 0


@pytest.mark.parametrize(
    ("change", "duplicated"),
    [
        pytest.param(mutants.KEEP_OPEN_BATCHES, True, id="kept"),
        pytest.param(mutants.NO_FENCE, False, id="unchanged"),
    ],
)
def test_open_batches_kept_over_a_rebalance(
    scene: Scene, changed_worker: ChangedWorker, change: str, duplicated: bool
) -> None:
    """The store's fence would drop them: here there is none, nor unique ids."""
    tables.query(scene.url, mutants.ANY_ID_TWICE)
    tables.query(scene.url, mutants.ANY_RANGE_TWICE)
    command = changed_worker(change)
    first = scene.start_worker(command=command, BATCH_SECONDS="25")
    scene.begins(first)
    scene.traffic(unrepeated(hostile_traffic(50, 7, scene.now())), pace=1_000).finish()
    second = scene.start_worker(command=command, BATCH_SECONDS="25")
    scene.begins(second)

    read_to_the_end(scene)
    scene.lasts(2)
    verdict = scene.judge()
    assert (verdict.duplicated > 0) is duplicated
