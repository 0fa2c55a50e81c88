"""Several writers at once on one database: nobody deadlocks, nothing is counted twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg2

from intentloop_schemas import Batch, Entry, fold_windows
from intentloop_sink import PostgresSink, Retry, Stored
from support import tables
from support.batches import PARTITION, batch, partition, tens, traffic

WRITERS = 4
GROUPS = 15
GROUP = 100


def write(
    url: str, number: int, groups: Sequence[Sequence[Batch]], ready: threading.Barrier
) -> list[Stored]:
    outcomes: list[Stored] = []
    with closing(PostgresSink(url, window_seconds=30, writer=f"w{number}")) as sink:
        ready.wait(30)
        for group in groups:
            prepared = sink.prepare(group)
            while not isinstance(outcome := sink.store(prepared), Stored):
                assert isinstance(outcome, Retry), outcome
                assert "40P01" not in outcome.error
            outcomes.append(outcome)
    return outcomes


def write_at_once(url: str, log_of: Callable[[int], list[Entry]]) -> list[Stored]:
    """Let each writer store its own partition, in groups, all at the same time."""
    ready = threading.Barrier(WRITERS)

    def run(number: int) -> list[Stored]:
        log = log_of(number)
        groups = [
            tens(log[start : start + GROUP], partition=partition(number))
            for start in range(0, len(log), GROUP)
        ]
        return write(url, number, groups, ready)

    with ThreadPoolExecutor(WRITERS) as pool:
        return [outcome for outcomes in pool.map(run, range(WRITERS)) for outcome in outcomes]


def windows(url: str) -> dict[tuple[object, ...], int]:
    sql = """
        SELECT dataset_id, intent, channel, model_version,
               (extract(epoch FROM window_start) * 1000)::bigint, n
        FROM intent_window_stats
    """
    return {row[:5]: row[5] for row in tables.query(url, sql)}


def counted(entries: Sequence[Entry]) -> dict[tuple[object, ...], int]:
    return {key[:5]: s.n for key, s in fold_windows(entries, 30).items()}


def test_writers_of_different_partitions_share_the_same_sums(database_url: str) -> None:
    logs = [traffic(range(GROUP * GROUPS), seed) for seed in range(WRITERS)]
    outcomes = write_at_once(database_url, logs.__getitem__)
    assert sum(o.stored for o in outcomes) == WRITERS * GROUP * GROUPS
    assert windows(database_url) == counted([e for log in logs for e in log])
    assert tables.untiled(database_url) == []


def test_the_same_events_in_every_partition_are_stored_once(database_url: str) -> None:
    log = traffic(range(GROUP * GROUPS))
    outcomes = write_at_once(database_url, lambda _: log)
    assert sum(o.stored for o in outcomes) == len(log)
    assert sum(o.duplicates for o in outcomes) == (WRITERS - 1) * len(log)
    assert windows(database_url) == counted(log)
    assert tables.query(database_url, 'SELECT sum(size)::int FROM "Dataset"') == [(len(log),)]


def test_a_writer_waits_for_its_turn_before_it_looks(
    database_url: str, eventually: Callable[..., object]
) -> None:
    rejected = batch([], first=0, next_position=10, rejected=10)
    with (
        closing(PostgresSink(database_url, window_seconds=30, writer="w")) as sink,
        closing(psycopg2.connect(database_url)) as other,
        other.cursor() as cursor,
        ThreadPoolExecutor(1) as pool,
    ):
        assert isinstance(sink.store(sink.prepare([batch([], 0, next_position=1)])), Stored)
        cursor.execute("UPDATE ingest_offset SET next_position = 10")
        waiting = pool.submit(sink.store, sink.prepare([rejected]))
        waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        eventually(lambda: tables.query(database_url, waits), timeout=10, message="nobody waits")
        other.commit()
        assert waiting.result(10) == Stored({PARTITION: 10}, fenced=10)


def test_two_writers_of_one_partition_do_not_both_store(database_url: str) -> None:
    """A worker that was thought dead goes on: the fence drops what the other one stored."""
    log = traffic(range(GROUP * GROUPS))
    groups = [tens(log[start : start + GROUP]) for start in range(0, len(log), GROUP)]
    ready = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda number: write(database_url, number, groups, ready), range(2))
        outcomes = [outcome for result in results for outcome in result]
    assert sum(o.stored for o in outcomes) == len(log)
    assert sum(o.fenced for o in outcomes) == len(log)
    assert windows(database_url) == counted(log)
    assert tables.untiled(database_url) == []
