"""Replaying ranges of a partition: in their turn, into recorded losses, and none of them twice."""

from __future__ import annotations

from typing import Any

from intentloop_sink import PostgresSink
from intentloop_sink.queries import queries
from intentloop_sink.spool import Spool
from support import tables
from support.batches import PARTITION, batch, entry, partition, tens, traffic
from support.replays import everything, replay, store


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
