"""Replaying the spools of all writers: each in its turn, live ones left alone, dry runs, kills."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from intentloop_schemas import Batch
from intentloop_sink import PostgresSink
from intentloop_sink.queries import queries
from intentloop_sink.spool import Spool, replay_all
from support import tables
from support.batches import batch, entry, partition, tens, traffic
from support.replays import NOBODY, MakeSink, everything, store


def spool_of(folder: Path, writer: str, batches: Sequence[Batch]) -> None:
    with Spool(folder, writer) as spool:
        spool.append(batches)


def test_all_spools_are_replayed_each_in_its_turn(
    sink: PostgresSink, database_url: str, tmp_path: Path
) -> None:
    log = traffic(range(90))
    spool_of(tmp_path, "a", tens(log[60:]))
    spool_of(tmp_path, "b", tens(log[30:60]))
    spool_of(tmp_path, "c", tens(log[:30]))
    seen: list[tuple[str, int]] = []
    report = replay_all(
        tmp_path, sink, progress=lambda writer, left: seen.append((writer.writer, left))
    )
    assert report.is_complete
    assert {w.writer: w.stored for w in report.writers} == {"a": 30, "b": 30, "c": 30}
    assert ("c", 0) in seen
    assert list(tmp_path.iterdir()) == []
    assert tables.examples(database_url).keys() == {e.example_id for e in log}
    with queries(database_url) as ask:
        assert ask.gaps() == []


def test_a_live_writer_s_spool_is_left_alone(
    sink: PostgresSink, database_url: str, tmp_path: Path, spool: Spool
) -> None:
    spool.append(tens(traffic(range(20), seed=1), partition=partition(1)))
    spool_of(tmp_path, "dead", tens(traffic(range(20))))
    (tmp_path / "no-spool").mkdir()
    report = replay_all(tmp_path, sink)
    assert {w.writer: (w.is_held, w.stored) for w in report.writers} == {
        "dead": (False, 20),
        "w": (True, 0),
    }
    assert report.is_complete
    assert spool.events == 20


def test_a_dry_run_tells_and_changes_nothing(
    sink: PostgresSink, database_url: str, tmp_path: Path, spool: Spool
) -> None:
    log = traffic(range(100))
    store(sink, tens(log[:20]))
    spool.append([batch([entry(0)], partition=partition(9))])
    spool_of(tmp_path, "above", tens(log[40:60]))
    spool_of(tmp_path, "below", tens(log[:20]))
    spool_of(tmp_path, "next", tens(log[20:30]))
    before = everything(database_url)
    files = {p: p.read_bytes() for p in tmp_path.rglob("*.jsonl")}

    report = replay_all(tmp_path, sink, dry_run=True)

    found = {w.writer: (w.is_held, w.events, w.remaining[0].reason) for w in report.writers}
    assert found == {
        "above": (False, 20, found["above"][2]),
        "below": (False, 20, "stored before, or recorded as lost: a replay finds out"),
        "next": (False, 10, "is next"),
        "w": (True, 1, "the store does not know this partition yet"),
    }
    assert found["above"][2].startswith("waits for 20 to 40")
    assert everything(database_url) == before
    assert {p: p.read_bytes() for p in tmp_path.rglob("*.jsonl")} == files
    assert [w.events for w in replay_all(tmp_path, None).writers] == [20, 20, 10, 1]

    report = replay_all(tmp_path, sink)
    assert not report.is_complete
    (above,) = [w for w in report.writers if w.remaining]
    assert (above.writer, above.remaining[0].stands_at) == ("above", 30)


def test_a_sweep_without_a_database_keeps_everything(
    make_sink: MakeSink, database_url: str, tmp_path: Path
) -> None:
    spool_of(tmp_path, "dead", tens(traffic(range(20))))
    report = replay_all(tmp_path, make_sink(NOBODY))
    assert not report.is_complete
    (writer,) = report.writers
    assert writer.error
    assert writer.remaining[0].events == 20


SWEEP = """
import os, sys
from pathlib import Path
from intentloop_sink import PostgresSink
from intentloop_sink.spool import replay_all
sink = PostgresSink(sys.argv[2], window_seconds=30, writer="sweep")
replay_all(Path(sys.argv[1]), sink, failpoint=lambda _: print("committed", flush=True))
"""


def test_a_sweep_that_is_killed_can_be_run_again(
    sink: PostgresSink, database_url: str, tmp_path: Path
) -> None:
    log = traffic(range(30_000))
    for number in range(3):
        part = log[number * 10_000 : (number + 1) * 10_000]
        spool_of(tmp_path, f"w{number}", [batch(part[i : i + 500]) for i in range(0, 10_000, 500)])
    command = [sys.executable, "-c", SWEEP, str(tmp_path), database_url]
    for _ in range(2):
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ)) as sweep:
            assert sweep.stdout is not None
            assert sweep.stdout.readline() == b"committed\n"
            sweep.kill()
    assert replay_all(tmp_path, sink).is_complete
    once = {e.example_id for e in log}
    assert tables.examples(database_url).keys() == once
    assert tables.query(database_url, "SELECT sum(n)::int FROM intent_window_stats") == [
        (len(once),)
    ]
    with queries(database_url) as ask:
        assert ask.gaps() == []
