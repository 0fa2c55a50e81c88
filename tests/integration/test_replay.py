"""Replaying a spool into a real Postgres: the same rows and sums, however often it is cut short."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from intentloop_schemas import Batch, DeadLetter, DeadLetterReason
from intentloop_sink import PostgresSink, Stored
from intentloop_sink.queries import queries
from intentloop_sink.spool import Replayer, ReplayStep, Spool, replay_all
from support import tables
from support.batches import NOON, PARTITION, batch, entry, partition, tens, traffic

MakeSink = Callable[..., PostgresSink]
NOBODY = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture
def make_sink(database_url: str) -> Iterator[MakeSink]:
    sinks: list[PostgresSink] = []

    def make(url: str = database_url) -> PostgresSink:
        sinks.append(PostgresSink(url, window_seconds=30, writer=f"writer-{len(sinks)}"))
        return sinks[-1]

    yield make
    for sink in sinks:
        sink.close()


@pytest.fixture
def sink(make_sink: MakeSink) -> PostgresSink:
    return make_sink()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path, "w") as spool:
        yield spool


def store(sink: PostgresSink, batches: Sequence[Batch]) -> Stored:
    outcome = sink.store(sink.prepare(batches))
    assert isinstance(outcome, Stored), outcome
    return outcome


def replay(spool: Spool, sink: PostgresSink, **options: Any) -> list[ReplayStep]:
    """Replay until the end; return the steps, the last of which says what waits."""
    replayer = Replayer(spool, sink, **options)
    steps = [replayer.step()]
    while not steps[-1].is_over:
        steps.append(replayer.step())
        assert steps[-1].error is None
        assert len(steps) < 1_000
    return steps


def contents(url: str) -> tuple[Any, ...]:
    """Return all that must not depend on the way that events took."""
    ranges = """
        SELECT topic_id, partition, min(first_position), max(next_position), sum(stored),
               sum(duplicates), sum(rejected), sum(flagged), sum(batches)
        FROM conversation_batch GROUP BY 1, 2 ORDER BY 1, 2
    """
    lines = "SELECT topic_id, partition, next_position, highest_timestamp FROM ingest_offset"
    return (
        tables.examples(url),
        tables.statistics(url, "intent_window_stats"),
        tables.statistics(url, "intent_hourly_stats"),
        tables.query(url, ranges),
        tables.query(url, f"{lines} ORDER BY 1, 2"),
        tables.query(url, 'SELECT id, size FROM "Dataset" ORDER BY 1'),
        tables.untiled(url),
    )


def everything(url: str) -> tuple[Any, ...]:
    batches = tables.query(url, "SELECT * FROM conversation_batch ORDER BY 1, 2, 3")
    return (*contents(url), batches)


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


def test_a_range_above_waits_for_its_turn(
    sink: PostgresSink, database_url: str, spool: Spool
) -> None:
    log = traffic(range(100))
    others = tens(traffic(range(50), seed=1), partition=partition(1))
    store(sink, tens(log[:20]))
    spool.append([*tens(log[40:60]), *others[:3], *tens(log[60:]), *others[3:]])

    first, *_, last = replay(spool, sink)
    assert first.stored == 50
    assert last.waiting == {PARTITION: 20}
    assert spool.pending.keys() == {PARTITION}
    assert spool.pending[PARTITION].run_from(40) is not None

    store(sink, tens(log[20:40]))
    steps = replay(spool, sink)
    assert steps[-1].waiting == {}
    assert sum(s.stored for s in steps) == 60
    assert spool.is_empty
    with queries(database_url) as ask:
        assert ask.gaps() == []


def test_what_comes_before_a_gap_is_stored(
    sink: PostgresSink, database_url: str, spool: Spool
) -> None:
    log = traffic(range(60))
    spool.append([*tens(log[:30]), *tens(log[40:])])
    assert replay(spool, sink)[-1].waiting == {PARTITION: 30}
    assert sink.lines([PARTITION]) == {PARTITION: (30, max(e.event.timestamp for e in log[20:30]))}
    assert spool.lines == 2
    store(sink, tens(log[30:40]))
    assert sum(s.stored for s in replay(spool, sink)) == 20
    assert spool.is_empty


def test_what_closes_a_gap_may_stand_behind_it(
    sink: PostgresSink, database_url: str, spool: Spool
) -> None:
    log = traffic(range(120))
    store(sink, tens(log[:10]))
    for part in (log[80:], log[40:60], log[10:40], log[60:80]):
        spool.append(tens(part))
    steps = replay(spool, sink, group_events=10)
    assert steps[-1].waiting == {}
    assert sum(s.stored for s in steps) == 110
    assert spool.is_empty


def test_an_overlap_that_nobody_can_cut_waits(
    sink: PostgresSink, database_url: str, spool: Spool
) -> None:
    store(sink, [batch([entry(0), entry(1)])])
    # One of 0, 2, 3 and 4 was rejected, the others are no records.
    spool.append([batch([entry(1)], first=0, next_position=5, rejected=1)])
    assert replay(spool, sink)[-1].waiting == {PARTITION: 2}
    assert spool.lines == 1
    store(sink, [batch([entry(5)], first=2)])
    assert replay(spool, sink)[-1].waiting == {}
    assert spool.is_empty


def test_a_range_below_is_dropped(sink: PostgresSink, database_url: str, spool: Spool) -> None:
    log = traffic(range(60))
    store(sink, tens(log[:45]))
    spool.append(tens(log))
    steps = replay(spool, sink)
    assert sum(s.fenced for s in steps) == 45
    assert sum(s.stored for s in steps) == 15
    assert spool.is_empty
    assert tables.accounted(database_url) == 60


def losses(url: str) -> list[tuple[Any, ...]]:
    sql = "SELECT partition, first_position, next_position FROM ingest_loss ORDER BY 1, 2"
    return tables.query(url, sql)


def test_a_range_in_a_recorded_loss_is_stored_and_the_loss_shrinks(
    sink: PostgresSink, database_url: str, spool: Spool
) -> None:
    log = traffic(range(100))
    store(sink, tens(log[:20]))
    sink.record_loss(PARTITION, 75)
    store(sink, tens(log[75:95]))
    recorded = tables.query(database_url, "SELECT recorded_at, writer FROM ingest_loss")
    line = sink.lines([PARTITION])

    spool.append([*tens(log[10:40]), *tens(log[50:80])])
    steps = replay(spool, sink)

    assert sum(s.stored for s in steps) == 45
    assert sum(s.fenced for s in steps) == 15
    assert spool.is_empty
    assert losses(database_url) == [(0, 40, 50)]
    assert tables.query(database_url, "SELECT recorded_at, writer FROM ingest_loss") == recorded
    assert sink.lines([PARTITION]) == line
    with queries(database_url) as ask:
        assert ask.gaps() == []

    before = everything(database_url)
    spool.append([*tens(log[10:40]), *tens(log[50:80])])
    replay(spool, sink)
    assert everything(database_url) == before

    spool.append(tens(log[30:]))
    assert sum(s.stored for s in replay(spool, sink)) == 15
    assert losses(database_url) == []
    assert tables.examples(database_url).keys() == {e.example_id for e in log}
    with queries(database_url) as ask:
        assert ask.gaps() == []


def test_what_was_spooled_before_the_beginning_of_a_partition_is_stored(
    sink: PostgresSink, database_url: str, spool: Spool
) -> None:
    """Another worker began where Kafka did by then, and the store knew of nothing before."""
    log = traffic(range(90))
    store(sink, tens(log[50:80]))
    line = sink.lines([PARTITION])

    spool.append(tens(log[10:40]))
    assert sum(s.stored for s in replay(spool, sink)) == 30
    assert losses(database_url) == [(0, 40, 50)]
    assert sink.lines([PARTITION]) == line

    spool.append(tens(log))
    steps = replay(spool, sink)
    assert sum(s.stored for s in steps) == 30
    assert sum(s.fenced for s in steps) == 60
    assert losses(database_url) == []
    assert tables.examples(database_url).keys() == {e.example_id for e in log}
    with queries(database_url) as ask:
        assert ask.gaps() == []


def test_a_loss_in_the_middle_of_a_batch_takes_its_part_of_the_rejected(
    sink: PostgresSink, database_url: str, spool: Spool
) -> None:
    store(sink, [batch([entry(0)])])
    sink.record_loss(PARTITION, 5)
    store(sink, [batch([entry(5)], rejected=1, next_position=7)])
    # Of 1 to 8, the records 2, 4 and 6 were rejected; 5 and 6 are stored.
    spool.append([batch([entry(i) for i in (1, 3, 5, 7)], next_position=8, rejected=3)])
    spool.append([batch([entry(1), entry(3)], next_position=4, rejected=1)])
    replay(spool, sink)
    assert losses(database_url) == []
    assert tables.accounted(database_url) == 8
    rows = tables.query(
        database_url,
        "SELECT first_position, next_position, stored, rejected FROM conversation_batch ORDER BY 1",
    )
    assert rows == [(0, 1, 1, 0), (1, 5, 2, 2), (5, 7, 1, 1), (7, 8, 1, 0)]


def test_losses_of_other_partitions_stay(
    sink: PostgresSink, database_url: str, spool: Spool
) -> None:
    for number in (0, 1):
        store(sink, [batch([entry(0)], partition=partition(number))])
        sink.record_loss(partition(number), 10)
    spool.append(
        [
            batch([entry(i, event_id=f"b{i}") for i in range(1, 10)], partition=partition(1)),
            batch([entry(0)], partition=partition(2)),
        ]
    )
    assert sum(s.stored for s in replay(spool, sink)) == 9
    assert losses(database_url) == [(0, 1, 10)]


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


def test_a_partition_begins_where_its_origin_is(
    sink: PostgresSink, database_url: str, spool: Spool
) -> None:
    log = traffic(range(30))
    spool.append([*tens(log[10:]), *tens(traffic(range(20), seed=1), partition=partition(1))])
    steps = replay(spool, sink, origins={PARTITION: 0, partition(1): 0})
    assert steps[-1].waiting == {PARTITION: 0}
    assert sink.lines([PARTITION]) == {}
    store(sink, tens(log[:10]))
    assert sum(s.stored for s in replay(spool, sink, origins={PARTITION: 0})) == 20
    assert spool.is_empty


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
