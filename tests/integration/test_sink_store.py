"""Storing groups on a real Postgres: every event once, every sum exact, whatever comes twice."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from math import floor
from typing import Any

import pytest

from intentloop_schemas import Batch, ClosedBy, DeadLetterReason, Entry, Source
from intentloop_sink import OutOfTurn, PostgresSink, Refused, Stored, without
from intentloop_sink.queries import queries
from support import tables
from support.batches import NOON, PARTITION, batch, entry, fates, partition, tens, traffic

MakeSink = Callable[..., PostgresSink]


def store(sink: PostgresSink, *batches: Batch) -> Any:
    return sink.store(sink.prepare(batches))


def stored(sink: PostgresSink, *batches: Batch) -> Stored:
    return fates(store(sink, *batches))


def contents(url: str) -> tuple[Any, ...]:
    return (
        tables.examples(url),
        tables.statistics(url, "intent_window_stats"),
        tables.statistics(url, "intent_hourly_stats"),
        tables.query(url, "SELECT * FROM conversation_batch ORDER BY 1, 2, 3"),
        tables.query(url, "SELECT * FROM ingest_offset ORDER BY 1, 2"),
        tables.query(url, 'SELECT * FROM "Dataset" ORDER BY 1'),
    )


def recomputed(entries: Iterable[Entry], seconds: int) -> dict[tuple[Any, ...], list[Any]]:
    """Add up statistics with none of the project's code."""
    groups: dict[tuple[Any, ...], list[Entry]] = defaultdict(list)
    for each in entries:
        e = each.event
        start = datetime.fromtimestamp(e.timestamp // 1000 // seconds * seconds, UTC)
        key = (e.dataset_id, e.intent, e.channel, e.model_version or "", start, seconds)
        groups[key].append(each)
    return {key: sums(group) for key, group in groups.items()}


def sums(entries: list[Entry]) -> list[Any]:
    micros = [floor(1e6 * e.event.confidence + 0.5) for e in entries]
    bins = [min(m // 50_000, 19) for m in micros]
    return [
        len(entries),
        sum(bool(e.reasons) for e in entries),
        sum(e.event.confidence < 0.7 for e in entries),
        sum(e.event.intent == "nlu_fallback" for e in entries),
        sum(e.late for e in entries),
        sum(micros),
        sum(m * m for m in micros),
        min(micros),
        max(micros),
        [bins.count(number) for number in range(20)],
    ]


def extents(entries: Iterable[Entry], seconds: int) -> dict[tuple[Any, ...], Any]:
    times: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for each in entries:
        e = each.event
        start = e.timestamp // 1000 // seconds * seconds
        key = (e.dataset_id, e.intent, e.channel, e.model_version or "", start)
        times[key].append(e.timestamp)
    return {key: (min(group), max(group)) for key, group in times.items()}


def assert_exact(url: str, entries: Iterable[Entry]) -> None:
    """Fail unless the tables hold just these events, each once."""
    once = {e.example_id: e for e in entries}
    rows = tables.examples(url)
    assert rows.keys() == once.keys()
    for example_id, each in once.items():
        assert rows[example_id][2:4] == (each.event.message_text, each.event.intent)
        assert rows[example_id][5] == datetime.fromtimestamp(each.event.timestamp / 1000, UTC)
    for table, seconds in (("intent_window_stats", 30), ("intent_hourly_stats", 3600)):
        assert tables.statistics(url, table) == recomputed(once.values(), seconds)
    sizes = tables.query(url, 'SELECT sum(size)::bigint FROM "Dataset"')
    assert sizes == [(len(once),)]
    assert tables.untiled(url) == []


def open_transactions(url: str) -> int:
    sql = """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND state LIKE 'idle in transaction%%'
    """
    return int(tables.query(url, sql)[0][0])


def test_everything_is_exact(sink: PostgresSink, database_url: str) -> None:
    entries = traffic(range(3_000))
    for start in range(0, 3_000, 500):
        outcome = stored(sink, *tens(entries[start : start + 500]))
        assert outcome == Stored({PARTITION: start + 500}, stored=500)
    assert_exact(database_url, entries)
    for table, seconds in (("intent_window_stats", 30), ("intent_hourly_stats", 3600)):
        sql = f"""
            SELECT dataset_id, intent, channel, model_version,
                   extract(epoch FROM window_start)::integer,
                   (extract(epoch FROM first_event_at) * 1000)::bigint,
                   (extract(epoch FROM last_event_at) * 1000)::bigint
            FROM {table}
        """
        found = {row[:5]: row[5:] for row in tables.query(database_url, sql)}
        assert found == extents(entries, seconds)


def test_a_batch_row_says_all_about_its_range(sink: PostgresSink, database_url: str) -> None:
    entries = [entry(0), entry(1, confidence=0.3), entry(2), entry(2), entry(4)]
    stored(
        sink,
        batch(
            entries,
            rejected=1,
            closed_by=ClosedBy.TIME,
            source=Source.REPLAY,
            opened_at=NOON - 5,
        ),
    )
    row = tables.query(
        database_url,
        """
        SELECT topic, topic_id, partition, first_position, next_position, batches, stored,
               duplicates, rejected, flagged, closed_by, source, opened_at, writer,
               committed_at > opened_at
        FROM conversation_batch
        """,
    )
    opened_at = datetime.fromtimestamp((NOON - 5) / 1000, UTC)
    expected = (*PARTITION, 0, 5, 1, 4, 1, 1, 1, "time", "replay", opened_at, "writer-0", True)
    assert row == [expected]


def test_lines_tell_where_partitions_stand(sink: PostgresSink) -> None:
    assert sink.lines([PARTITION, partition(1)]) == {}
    stored(sink, batch([entry(7), entry(8)], highest_timestamp=NOON + 99))
    stored(sink, batch([entry(9)], highest_timestamp=NOON + 50))
    assert sink.lines([PARTITION, partition(1)]) == {PARTITION: (10, NOON + 99)}
    assert sink.lines([]) == {}


def test_a_recreated_topic_begins_a_new_line(sink: PostgresSink) -> None:
    again = PARTITION._replace(topic_id="topic-2")
    stored(sink, batch([entry(0)]))
    outcome = stored(sink, batch([entry(0, event_id="new")], partition=again))
    assert outcome == Stored({again: 1}, stored=1)
    assert sink.lines([PARTITION]) == {PARTITION: (1, NOON)}


def test_a_group_without_events_moves_on(sink: PostgresSink, database_url: str) -> None:
    assert stored(sink) == Stored({})
    only_rejected = batch([], first=0, next_position=10, rejected=10)
    assert stored(sink, only_rejected) == Stored({PARTITION: 10}, rejected=10)
    assert tables.accounted(database_url) == 10


def test_a_dataset_comes_into_being_with_its_first_event(
    sink: PostgresSink, database_url: str
) -> None:
    stored(sink, batch([entry(0)]))
    stored(sink, batch([entry(1, dataset_id="ds-shop"), entry(2)]))
    sizes = 'SELECT id, name, size FROM "Dataset" ORDER BY id'
    assert tables.query(database_url, sizes) == [
        ("ds-auto-training", "Auto training", 2),
        ("ds-shop", "Shop", 1),
    ]


def test_the_same_group_twice_changes_nothing(sink: PostgresSink, database_url: str) -> None:
    group = sink.prepare(tens(traffic(range(100))))
    assert fates(sink.store(group)) == Stored({PARTITION: 100}, stored=100)
    before = contents(database_url)
    assert fates(sink.store(group)) == Stored({PARTITION: 100}, fenced=100)
    assert contents(database_url) == before


def test_an_overlap_is_stored_once(sink: PostgresSink, database_url: str) -> None:
    entries = traffic(range(40))
    stored(sink, *tens(entries[:25]))
    assert stored(sink, *tens(entries)) == Stored({PARTITION: 40}, stored=15, fenced=25)
    assert_exact(database_url, entries)


def test_a_gap_is_not_stored(sink: PostgresSink, database_url: str) -> None:
    stored(sink, batch([entry(0)]))
    before = contents(database_url)
    assert store(sink, batch([entry(5)])) == OutOfTurn(PARTITION, 1)
    assert contents(database_url) == before
    assert open_transactions(database_url) == 0
    assert stored(sink, batch([entry(1)])).stored == 1


def test_a_partition_out_of_turn_holds_the_others_back(sink: PostgresSink) -> None:
    stored(sink, batch([entry(0)]))
    others = batch([entry(3, event_id="other")], partition=partition(1))
    assert store(sink, others, batch([entry(5)])) == OutOfTurn(PARTITION, 1)
    assert sink.lines([partition(1)]) == {partition(1): (3, 0)}
    assert stored(sink, others).stored == 1


def test_duplicates_within_and_across_groups(sink: PostgresSink, database_url: str) -> None:
    chance = random.Random(1)
    entries = traffic(range(1_000))
    sent = [chance.choice(entries[: i + 1]) if i % 5 == 0 else e for i, e in enumerate(entries)]
    log = [replace(e, record=entry(i).record) for i, e in enumerate(sent)]
    outcomes = [stored(sink, *tens(log[start : start + 100])) for start in range(0, 1_000, 100)]
    distinct = {e.example_id: e for e in log}
    assert sum(o.stored for o in outcomes) == len(distinct)
    assert sum(o.duplicates for o in outcomes) == 1_000 - len(distinct)
    assert_exact(database_url, distinct.values())


def test_the_whole_log_again_changes_no_example_and_no_sum(
    make_sink: MakeSink, database_url: str
) -> None:
    entries = traffic(range(200))
    stored(make_sink(), *tens(entries))
    before = contents(database_url)[:3]
    again = stored(make_sink(), *tens(entries, partition=partition(1)))
    assert again == Stored({partition(1): 200}, duplicates=200)
    assert contents(database_url)[:3] == before


def test_an_event_with_every_field_is_recognised(sink: PostgresSink) -> None:
    each = entry(
        0,
        confidence=0.1 + 0.2,
        current_step="menu",
        channel="rcs",
        language="hi",
        model_version="v2",
        session_id="s",
        message_id="m",
        alternatives=[{"intent": "a", "confidence": 1.0}, {"intent": "b", "confidence": 1e-7}],
    )
    stored(sink, batch([each]))
    again = stored(sink, batch([each], partition=partition(1)))
    assert again == Stored({partition(1): 1}, duplicates=1)


def test_after_a_duplicate_groups_are_looked_up_first_for_a_while(make_sink: MakeSink) -> None:
    now = 0.0
    sink = make_sink(clock=lambda: now, careful_seconds=60.0)
    stored(sink, batch([entry(0)]))
    assert not sink.is_careful
    stored(sink, batch([entry(1, event_id="event-0", timestamp=NOON)]))
    assert sink.is_careful
    now = 59.9
    assert sink.is_careful
    now = 60.1
    assert not sink.is_careful


def test_a_reviewed_example_is_still_recognised(sink: PostgresSink, database_url: str) -> None:
    first = entry(0, confidence=0.4)
    stored(sink, batch([first]))
    review = """
        UPDATE "Example" SET intent = 'cancel',
          tags = array_append(array_remove(tags, 'needs_review'), 'reviewed')
    """
    tables.query(database_url, review)
    again = replace(first, record=entry(1).record, reasons=())
    assert stored(sink, batch([again])) == Stored({PARTITION: 2}, duplicates=1)
    assert tables.query(database_url, 'SELECT intent FROM "Example"') == [("cancel",)]


CHANGES: list[dict[str, Any]] = [
    {"message_text": "cancel it"},
    {"confidence": 0.9500000001},
    {"timestamp": NOON + 1},
    {"alternatives": [{"intent": "cancel", "confidence": 0.1}]},
    {"current_step": ""},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_other_content_under_a_stored_id_is_refused(
    change: dict[str, Any], sink: PostgresSink, database_url: str
) -> None:
    same = {"event_id": "same", "timestamp": NOON}
    stored(sink, batch([entry(0, **same)]))
    before = contents(database_url)

    other = entry(2, **{**same, **change})
    batches = [batch([entry(1, **same), other, entry(3)])]
    outcome = store(sink, *batches)

    assert isinstance(outcome, Refused)
    (refusal,) = outcome.refusals
    assert refusal.entry is other
    assert refusal.partition == PARTITION
    assert refusal.reason is DeadLetterReason.CONFLICTING_DUPLICATE
    assert "'same' is stored already" in refusal.error
    assert contents(database_url) == before
    assert open_transactions(database_url) == 0

    rest = stored(sink, *without(batches, [refusal.entry]))
    assert rest == Stored({PARTITION: 4}, stored=1, duplicates=1, rejected=1)


def test_of_two_contents_in_a_group_the_stored_one_stays(make_sink: MakeSink) -> None:
    """Even when the other one comes first in the log."""
    same = {"event_id": "same", "timestamp": NOON}
    stored(make_sink(), batch([entry(0, **same)]))
    other, again = entry(1, **same, message_text="cancel it"), entry(2, **same)
    sink = make_sink()
    batches = [batch([other, again])]
    outcome = store(sink, *batches)
    assert isinstance(outcome, Refused)
    assert [r.entry for r in outcome.refusals] == [other]
    rest = stored(sink, *without(batches, [other]))
    assert rest == Stored({PARTITION: 3}, duplicates=1, rejected=1)


def test_of_two_contents_in_a_group_the_first_stays(sink: PostgresSink, database_url: str) -> None:
    first, other = (entry(i, event_id="same", timestamp=NOON + i) for i in (0, 1))
    batches = [batch([first, other])]
    outcome = store(sink, *batches)
    assert isinstance(outcome, Refused)
    assert [r.entry for r in outcome.refusals] == [other]
    stored(sink, *without(batches, [other]))
    assert_exact(database_url, [first])


def test_hostile_text_is_kept_as_it_is(sink: PostgresSink, database_url: str) -> None:
    texts = [
        "\t",
        "a\\b\\",
        "x\r\ny\n",
        "'\"`",
        "\\.",
        "\\N",
        "👍🏽\u200d",
        "मेरा ऑर्डर",
        "\x01",
        "\ufeff",
    ]
    sender = 'x",needs_review,"'
    entries = [entry(i, message_text=t, phone_number=sender) for i, t in enumerate(texts)]
    stored(sink, batch(entries))
    rows = tables.query(database_url, 'SELECT input, sender, tags[2] FROM "Example" ORDER BY id')
    by_id = sorted(entries, key=lambda e: e.example_id)
    assert rows == [(e.event.message_text, sender, f"source:{sender}") for e in by_id]


def test_a_loss_is_recorded_and_skipped(sink: PostgresSink, database_url: str) -> None:
    stored(sink, batch([entry(0)]))
    assert store(sink, batch([entry(5)])) == OutOfTurn(PARTITION, 1)
    assert sink.record_loss(PARTITION, 5) is None
    assert sink.record_loss(PARTITION, 4) is None
    assert stored(sink, batch([entry(5)])).next_positions == {PARTITION: 6}
    losses = "SELECT topic_id, partition, first_position, next_position FROM ingest_loss"
    assert tables.query(database_url, losses) == [("topic-1", 0, 1, 5)]
    with queries(database_url) as ask:
        assert ask.gaps() == []
