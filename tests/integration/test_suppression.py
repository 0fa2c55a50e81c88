"""Erased senders and retention, at the store: what is gone stays gone, and everything adds up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from intentloop_schemas import Batch, Entry
from intentloop_sink import PostgresSink, Refused, Stored
from intentloop_sink.catalogue import PostgresCatalogue, SetRetention
from intentloop_sink.privacy import apply_retention, erase_examples, find_examples
from intentloop_sink.queries import queries
from support import tables
from support.batches import NOON, PARTITION, LogRecord, batch, entry, tens

ASHA, BELA = "+919876543210", "+919876500000"
DAY_MS = 86_400_000

MakeSink = Callable[..., PostgresSink]


@pytest.fixture
def catalogue(database_url: str) -> Iterator[PostgresCatalogue]:
    catalogue = PostgresCatalogue(database_url)
    yield catalogue
    catalogue.close()


def store(sink: PostgresSink, *batches: Batch) -> Stored:
    outcome = sink.store(sink.prepare(batches))
    assert isinstance(outcome, Stored), outcome
    return outcome


def of_both(count: int = 20) -> list[Entry]:
    return [entry(n, phone_number=(ASHA, BELA)[n % 2]) for n in range(count)]


def senders(url: str) -> set[str]:
    return {row[0] for row in tables.query(url, 'SELECT DISTINCT sender FROM "Example"')}


def forget_progress(url: str) -> None:
    """Let the whole log be read again."""
    tables.query(url, "DELETE FROM ingest_offset")
    tables.query(url, "DELETE FROM conversation_batch")


def later(each: Entry, timestamp: int) -> Entry:
    return replace(each, record=LogRecord(each.record.offset, timestamp))


def totals(url: str) -> tuple[int, int, int, int]:
    """Return stored, duplicates, rejected, suppressed."""
    sql = "SELECT sum(stored), sum(duplicates), sum(rejected), sum(suppressed) "
    return tuple(map(int, tables.query(url, f"{sql} FROM conversation_batch")[0]))  # type: ignore[return-value]


def test_an_erased_sender_does_not_come_back_with_the_log(
    sink: PostgresSink, make_sink: MakeSink, database_url: str
) -> None:
    log = of_both()
    store(sink, *tens(log))
    before = tables.statistics(database_url, "intent_window_stats")

    assert find_examples(database_url, [ASHA]) == {"ds-auto-training": 10}
    erased = erase_examples(database_url, [ASHA])

    assert erased.examples == {"ds-auto-training": 10}
    assert abs(erased.at - datetime.now(UTC)) < timedelta(minutes=1)
    assert senders(database_url) == {BELA}
    assert tables.query(database_url, 'SELECT size FROM "Dataset"') == [(10,)]
    for again in (sink, make_sink()):
        forget_progress(database_url)
        outcome = store(again, *tens(log))
        assert (outcome.stored, outcome.duplicates) == (0, 10)
        assert (outcome.rejected, outcome.suppressed) == (10, 10)
        assert totals(database_url) == (0, 10, 10, 10)
    assert senders(database_url) == {BELA}
    assert tables.statistics(database_url, "intent_window_stats") == before
    with queries(database_url) as ask:
        assert ask.gaps() == []


def test_nothing_of_an_erased_sender_is_left_in_any_table(
    sink: PostgresSink, database_url: str
) -> None:
    words = {"message_text": "call Asha", "session_id": "s-asha", "message_id": "wamid-asha"}
    store(sink, batch([entry(0, phone_number=ASHA, **words), entry(1, phone_number=BELA)]))
    erase_examples(database_url, [ASHA])

    names = tables.query(
        database_url,
        "SELECT relname FROM pg_class "
        "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
    )
    assert ("erased_sender",) in names
    for (name,) in names:
        rows = str(tables.query(database_url, f'SELECT * FROM "{name}"'))
        for trace in (ASHA, "Asha", "s-asha", "wamid-asha"):
            assert trace not in rows, name


def test_who_comes_back_later_is_a_new_customer(sink: PostgresSink, database_url: str) -> None:
    store(sink, batch([entry(0, phone_number=ASHA)]))
    erase_examples(database_url, [ASHA])
    tomorrow = round(time.time() * 1000) + DAY_MS

    new = later(entry(1, phone_number=ASHA, timestamp=tomorrow), tomorrow)
    assert store(sink, batch([new])).stored == 1
    erase_examples(database_url, [ASHA])
    assert senders(database_url) == set()


def test_what_was_in_the_log_before_the_erasure_is_old_whatever_its_clock_said(
    sink: PostgresSink, database_url: str
) -> None:
    ahead = round(time.time() * 1000) + DAY_MS
    log = [entry(0, phone_number=ASHA, timestamp=ahead)]
    store(sink, batch(log))
    erase_examples(database_url, [ASHA])
    forget_progress(database_url)

    assert store(sink, batch(log)).suppressed == 1


def test_what_was_written_before_the_erasure_and_sent_after_it_is_refused(
    sink: PostgresSink, database_url: str
) -> None:
    erase_examples(database_url, [ASHA])
    tomorrow = round(time.time() * 1000) + DAY_MS

    delayed = later(entry(0, phone_number=ASHA, timestamp=NOON), tomorrow)
    assert store(sink, batch([delayed])).suppressed == 1


def test_an_erased_sender_s_contradiction_is_no_refusal_because_that_would_keep_it(
    sink: PostgresSink, database_url: str
) -> None:
    same = {"phone_number": ASHA, "event_id": "same", "timestamp": NOON}
    contradiction = [entry(0, **same), entry(1, **same, message_text="other")]
    prepared = sink.prepare([batch(contradiction)])
    assert isinstance(sink.store(prepared), Refused)

    erase_examples(database_url, [ASHA])

    outcome = sink.store(prepared)
    assert isinstance(outcome, Stored)
    assert outcome.suppressed == 2


def test_a_row_of_an_erased_sender_that_the_database_refuses_is_no_refusal(
    sink: PostgresSink, database_url: str
) -> None:
    refuse = "ALTER TABLE \"Example\" ADD CHECK (input <> 'refused')"
    tables.query(database_url, refuse)
    erase_examples(database_url, [ASHA])
    log = [
        entry(0, phone_number=ASHA, message_text="refused"),
        entry(1, phone_number=BELA, message_text="refused"),
        entry(2, phone_number=BELA),
    ]

    outcome = sink.store(sink.prepare([batch(log)]))

    assert isinstance(outcome, Refused)
    assert [refusal.entry.event.phone_number for refusal in outcome.refusals] == [BELA]


def test_a_writer_in_the_middle_of_its_transaction_brings_nobody_back(
    make_sink: MakeSink, database_url: str, eventually: Any
) -> None:
    waits, goes_on = threading.Event(), threading.Event()

    def failpoint(name: str) -> None:
        if name == "store.before_commit":
            waits.set()
            assert goes_on.wait(20)

    writer = make_sink(failpoint=failpoint, lock_timeout=20.0)
    storing = threading.Thread(target=store, args=(writer, batch(of_both(2))))
    storing.start()
    assert waits.wait(20)
    erasing = threading.Thread(target=erase_examples, args=(database_url, [ASHA]))
    erasing.start()
    blocked = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'intentloop-privacy'"
    eventually(lambda: tables.query(database_url, f"{blocked} AND wait_event_type = 'Lock'"))
    goes_on.set()
    erasing.join(30)
    storing.join(30)

    assert senders(database_url) == {BELA}


def test_a_mended_database_is_asked_anew_not_from_memory(
    sink: PostgresSink, database_url: str
) -> None:
    """A backup from before the erasure knows nothing of it, and its version is another."""
    erase_examples(database_url, [BELA])
    store(sink, batch([entry(0, phone_number=ASHA)]))
    tables.query(database_url, "DELETE FROM erased_sender")
    tables.query(database_url, "UPDATE suppression SET version = 0")

    assert store(sink, batch([entry(1, phone_number=BELA)])).stored == 1


def old_and_new(days: int) -> list[Entry]:
    """Twenty events, the odd ones older than so many days."""
    now = round(time.time() * 1000)
    ages = (DAY_MS, (days + 1) * DAY_MS)
    return [
        entry(n, timestamp=now - ages[n % 2] + n, dataset_id=("ds-a", "ds-b")[n // 2 % 2])
        for n in range(20)
    ]


def test_what_is_past_its_retention_goes_and_no_replay_restores_it(
    sink: PostgresSink, database_url: str, catalogue: PostgresCatalogue
) -> None:
    log = old_and_new(days=30)
    store(sink, *tens(log))
    before = tables.statistics(database_url, "intent_window_stats")
    catalogue.apply(SetRetention(dataset_id="ds-a", days=30))
    forget_progress(database_url)
    assert store(sink, *tens(log)).duplicates == 20, "nothing is refused before it is applied"

    (applied,) = apply_retention(database_url, catalogue)

    assert (applied.dataset_id, applied.examples) == ("ds-a", 5)
    sizes = 'SELECT id, size FROM "Dataset" ORDER BY id'
    assert tables.query(database_url, sizes) == [("ds-a", 5), ("ds-b", 10)]
    forget_progress(database_url)
    outcome = store(sink, *tens(log))
    assert (outcome.stored, outcome.duplicates, outcome.suppressed) == (0, 15, 5)
    assert tables.query(database_url, sizes) == [("ds-a", 5), ("ds-b", 10)]
    assert tables.statistics(database_url, "intent_window_stats") == before
    assert next(apply_retention(database_url, catalogue)).examples == 0


def test_what_retention_removed_stays_away_when_it_is_kept_longer_from_now_on(
    sink: PostgresSink, database_url: str, catalogue: PostgresCatalogue
) -> None:
    log = old_and_new(days=30)
    catalogue.apply(SetRetention(dataset_id="ds-a", days=30))
    (first,) = apply_retention(database_url, catalogue)

    catalogue.apply(SetRetention(dataset_id="ds-a", days=300))
    (second,) = apply_retention(database_url, catalogue)
    catalogue.apply(SetRetention(dataset_id="ds-a", days=None))
    (third,) = apply_retention(database_url, catalogue)

    assert first.horizon == second.horizon == third.horizon
    assert store(sink, *tens(log)).suppressed == 5


def test_the_lines_still_tile_and_the_watermark_still_moves(
    sink: PostgresSink, database_url: str
) -> None:
    erase_examples(database_url, [ASHA])
    store(sink, batch([entry(n, phone_number=ASHA) for n in range(10)]))

    line = sink.lines([PARTITION])
    assert isinstance(line, dict)
    assert line[PARTITION] == (10, NOON + 9)
    assert tables.accounted(database_url) == 10
