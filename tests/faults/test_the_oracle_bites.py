"""Workers that break the promise in known ways: the oracle must find each of them out."""

from __future__ import annotations

from itertools import islice

import pytest

from support import tables
from support.oracle import Verdict
from support.processes import ChangedWorker
from support.scene import SUPERVISED, Scene

pytestmark = pytest.mark.slow_fault

ADVANCE_BEFORE_THE_EXAMPLES = """
from intentloop_sink import transaction
write = transaction.Transaction._write
def too_early(self, cursor, prepared, ahead, shrunk):
    done = transaction.Statement("COMMIT; BEGIN;", ())
    transaction.send(cursor, [transaction._advance(ahead, self.writer), done])
    write(self, cursor, prepared, ahead, shrunk)
transaction.Transaction._write = too_early
"""
COUNT_DUPLICATES = """
from intentloop_sink import transaction
leave_out = transaction.leave_out_known
def leave_out_but_count(cursor, prepared):
    left = leave_out(cursor, prepared)
    left.windows, left.hours = prepared.windows, prepared.hours
    return left
transaction.leave_out_known = leave_out_but_count
"""
LOOK_NOTHING_UP = """
from intentloop_sink import transaction
transaction.leave_out_known = lambda cursor, prepared: prepared
"""
ANY_ID_TWICE = 'ALTER TABLE "Example" DROP CONSTRAINT "Example_pkey"'


def read_to_the_end(scene: Scene) -> Verdict:
    """Wait until the store claims to have everything, right or wrong."""
    sql = "SELECT coalesce(sum(next_position), 0) FROM ingest_offset"
    accepted = scene.history.accepted
    scene.eventually(lambda: tables.query(scene.url, sql) == [(accepted,)], 30, "all is read")
    return scene.judge()


def test_an_unchanged_worker_passes(scene: Scene, changed_worker: ChangedWorker) -> None:
    scene.start_worker(command=changed_worker(""))
    scene.traffic(islice(scene.hostile(), 1_000)).finish()

    read_to_the_end(scene).require_exactly_once()


def test_progress_before_the_commit_is_found_out(
    scene: Scene, changed_worker: ChangedWorker
) -> None:
    command = changed_worker(ADVANCE_BEFORE_THE_EXAMPLES)
    worker = scene.start_worker(
        command=command, INTENTLOOP_FAILPOINT="store.after_copy:5", **SUPERVISED
    )
    client = scene.traffic()
    scene.ended(worker)
    scene.start_worker(command=command, **SUPERVISED)
    client.stop()
    client.finish()

    assert read_to_the_end(scene).lost > 0


def test_statistics_of_duplicates_are_found_out(
    scene: Scene, changed_worker: ChangedWorker
) -> None:
    scene.start_worker(command=changed_worker(COUNT_DUPLICATES))
    scene.traffic(islice(scene.hostile(), 2_000), pace=1_000).finish()

    verdict = read_to_the_end(scene)
    assert verdict.drift > 0
    assert verdict.lost == verdict.duplicated == 0


def test_duplicates_that_nobody_looks_up_are_found_out(
    scene: Scene, changed_worker: ChangedWorker
) -> None:
    tables.query(scene.url, ANY_ID_TWICE)
    scene.start_worker(command=changed_worker(LOOK_NOTHING_UP))
    scene.traffic(islice(scene.hostile(), 2_000), pace=1_000).finish()

    assert read_to_the_end(scene).duplicated > 0
