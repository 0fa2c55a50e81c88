"""Replaying a spool into a real Postgres: the same rows and sums, however often it is cut short."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest

from intentloop_schemas import Batch, DeadLetter, DeadLetterReason
from intentloop_sink import PostgresSink
from intentloop_sink.spool import Replayer, Spool
from support import tables
from support.batches import NOON, batch, entry, partition, tens, traffic
from support.replays import NOBODY, MakeSink, contents, everything, replay, store


def forget(url: str) -> None:
    names = "dataset, dataset_counter, intent_window_stats, intent_hourly_stats"
    progress = "conversation_batch, ingest_offset, ingest_loss"
    tables.query(url, f'TRUNCATE "Example", {names}, {progress}')


def log_of_two_partitions() -> list[Batch]:
    entries = traffic(range(600))
    twice = [replace(e, record=entry(600 + i).record) for i, e in enumerate(entries[:50])]
    batches = tens([*entries, *twice])
    for each in batches[::7]:
        each.rejected, each.entries = 1, each.entries[1:]
    others = tens(traffic(range(300), seed=1), partition=partition(1))
    for log in (batches, others):
        highest = accumulate((b.highest_timestamp for b in log), max)
        for each, timestamp in zip(log, highest, strict=True):
            each.highest_timestamp = timestamp
    return [b for pair in zip(batches, others, strict=False) for b in pair] + batches[30:]


def test_a_replay_stores_exactly_what_was_spooled(
    make_sink: MakeSink, database_url: str, spool: Spool
) -> None:
    batches = log_of_two_partitions()
    store(make_sink(), batches)
    directly = contents(database_url)
    forget(database_url)
    sink = make_sink()

    for start in range(0, len(batches), 9):
        spool.append(batches[start : start + 9])
    steps = replay(spool, sink, group_events=100)

    assert len(steps) > 5
    assert contents(database_url) == directly
    assert sum(s.stored + s.duplicates + s.rejected for s in steps) == 950
    assert spool.is_empty
    assert list(spool.folder.glob("*.jsonl")) == []
    sources = tables.query(database_url, "SELECT DISTINCT source FROM conversation_batch")
    assert sources == [("replay",)]


def test_replaying_again_changes_nothing(
    sink: PostgresSink, database_url: str, spool: Spool
) -> None:
    batches = log_of_two_partitions()
    spool.append(batches)
    replay(spool, sink)
    before = everything(database_url)
    spool.append(batches)
    steps = replay(spool, sink)
    assert everything(database_url) == before
    assert sum(s.fenced for s in steps) == 950
    assert sum(s.stored + s.duplicates + s.rejected for s in steps) == 0
    assert spool.is_empty


REPLAY_AND_DIE = """
import os, sys
from pathlib import Path
from intentloop_sink import PostgresSink
from intentloop_sink.spool import Replayer, Spool
sink = PostgresSink(sys.argv[2], window_seconds=30, writer="doomed")
failpoint = lambda name: os._exit(77) if name == "replay.after_commit" else None
spool = Spool(Path(sys.argv[1]), "w")
Replayer(spool, sink, group_events=100, failpoint=failpoint).step()
"""


def test_a_death_between_commit_and_unlink_changes_nothing(
    make_sink: MakeSink, database_url: str, tmp_path: Path
) -> None:
    batches = log_of_two_partitions()
    store(make_sink(), batches)
    directly = contents(database_url)
    forget(database_url)
    with Spool(tmp_path, "w", segment_bytes=20_000) as spool:
        for each in batches:
            spool.append([each])
        files = len(list(spool.folder.glob("*.jsonl")))
    for _ in range(3):
        command = [sys.executable, "-c", REPLAY_AND_DIE, str(tmp_path), database_url]
        died = subprocess.run(command, check=False)
        assert died.returncode == 77
        assert tables.accounted(database_url) == 110
    with Spool(tmp_path, "w") as spool:
        assert len(list(spool.folder.glob("*.jsonl"))) == files
        steps = replay(spool, make_sink(), group_events=100)
        assert sum(s.fenced for s in steps) == 110
        assert spool.is_empty
    assert contents(database_url) == directly


def conflicting() -> list[Batch]:
    same = {"event_id": "same", "timestamp": NOON}
    return [batch([entry(0, **same), entry(1, **same, message_text="other"), entry(2)])]


def test_a_refused_record_is_published_before_the_rest_is_stored(
    sink: PostgresSink, database_url: str, spool: Spool
) -> None:
    spool.append(conflicting())
    letters: list[DeadLetter] = []

    def publish(refused: Sequence[DeadLetter]) -> None:
        assert tables.accounted(database_url) == 0
        letters.extend(refused)

    first, last = replay(spool, sink, publish=publish)
    assert (first.stored, first.rejected, first.refused) == (2, 1, 1)
    assert last.is_over
    (letter,) = letters
    assert letter.reason is DeadLetterReason.CONFLICTING_DUPLICATE
    assert (letter.topic, letter.partition, letter.offset) == ("conversations", 0, 1)
    assert spool.is_empty
    assert spool.events == 0


def test_a_refused_record_that_cannot_be_published_stays(
    sink: PostgresSink, database_url: str, spool: Spool
) -> None:
    spool.append(conflicting())

    def publish(_refused: Sequence[DeadLetter]) -> None:
        raise ConnectionError("no broker")

    with pytest.raises(ConnectionError):
        replay(spool, sink, publish=publish)
    assert spool.events == 3
    assert tables.accounted(database_url) == 0
    replay(spool, sink)
    assert (spool.folder / "refused" / "refused.jsonl").read_text().count("\n") == 1
    assert tables.accounted(database_url) == 3


def test_while_the_database_is_away_everything_stays(
    make_sink: MakeSink, database_url: str, spool: Spool
) -> None:
    spool.append(tens(traffic(range(30))))
    step = Replayer(spool, make_sink(NOBODY)).step()
    assert step.error
    assert not step.is_over
    assert spool.events == 30
    assert sum(s.stored for s in replay(spool, make_sink())) == 30
