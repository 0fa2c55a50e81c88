"""Where a partition begins is known before anything of it is stored, and whatever a spool lost."""

from __future__ import annotations

from intentloop_sink import PostgresSink
from intentloop_sink.spool import Replayer, Spool
from support.batches import PARTITION, entry, fates, partition, tens, traffic
from support.replays import NOBODY, MakeSink
from support.spools import segments


def test_a_new_partition_begins_at_the_earliest_offset_of_its_log(sink: PostgresSink) -> None:
    assert sink.lines_from({PARTITION: 40, partition(1): 0}) == {
        PARTITION: (40, 0),
        partition(1): (0, 0),
    }
    assert sink.lines([PARTITION]) == {PARTITION: (40, 0)}


def test_one_that_is_known_stays_where_it_is(sink: PostgresSink) -> None:
    fates(sink.store(sink.prepare(tens([entry(offset) for offset in range(10)]))))
    line = sink.lines([PARTITION])

    assert sink.lines_from({PARTITION: 3}) == line
    assert sink.lines_from({PARTITION: 12}) == line


def test_what_a_spool_lost_of_a_new_partition_is_a_gap(sink: PostgresSink, spool: Spool) -> None:
    log = traffic(range(30))
    sink.lines_from({PARTITION: 0})
    spool.append(tens(log[10:]))
    replayer = Replayer(spool, sink)

    assert replayer.step().waiting == {PARTITION: 0}
    assert sink.lines([PARTITION]) == {PARTITION: (0, 0)}
    fates(sink.store(sink.prepare(tens(log[:10]))))

    assert replayer.step().is_over
    assert replayer.step().stored == 20
    assert spool.is_empty


def test_a_database_that_is_away_is_asked_before_a_spool_is_read(
    make_sink: MakeSink, spool: Spool
) -> None:
    log = traffic(range(20))
    spool.append(tens(log[:10]))

    assert Replayer(spool, make_sink(NOBODY)).step().error
    spool.append(tens(log[10:]))

    # What was read is written to no more.
    assert len(segments(spool)) == 1
