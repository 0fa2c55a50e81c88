"""When the database refuses, stalls, or is away: what is given back, and what happens next."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from io import BytesIO
from typing import Any

import psycopg2
import pytest
from psycopg2.errors import LockNotAvailable

from intentloop_schemas import Batch, DeadLetterReason
from intentloop_sink import (
    DatabaseUnavailableError,
    PostgresSink,
    Refused,
    Retry,
    Stored,
    Unavailable,
    without,
)
from intentloop_sink.stalled import ending_stalled_writers
from intentloop_sink.statements import COPY_EXAMPLES
from support import tables
from support.batches import NOON, PARTITION, batch, entry, fates, partition, tens, traffic
from support.proxy import Proxy

LOCK_LINES = "SELECT 1 FROM ingest_offset FOR UPDATE"


@pytest.fixture
def sink(database_url: str) -> Iterator[PostgresSink]:
    with closing(make_sink(database_url)) as sink:
        yield sink


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    proxy = Proxy(database_url)
    yield proxy
    proxy.stop()


def make_sink(url: str, **options: Any) -> PostgresSink:
    return PostgresSink(
        url, **{"window_seconds": 30, "writer": "w", "lock_timeout": 0.3, **options}
    )


def store(sink: PostgresSink, *batches: Batch) -> Any:
    return sink.store(sink.prepare(batches))


def session(url: str, application_name: str) -> Any:
    return psycopg2.connect(url, application_name=application_name)


def test_rows_that_fail_alone_are_found(sink: PostgresSink, database_url: str) -> None:
    store(sink, batch([entry(0)]))
    forbid = """ALTER TABLE "Example" ADD CHECK (input <> 'forbidden')"""
    tables.query(database_url, forbid)
    again = [entry(i, event_id="event-0", timestamp=NOON) for i in (1, 2)]
    bad = [entry(i, message_text="forbidden") for i in (40, 41, 255)]
    good = [entry(i) for i in range(3, 300) if i not in (40, 41, 255)]
    log = sorted([*again, *bad, *good], key=lambda e: e.record.offset)
    batches = tens(log)

    outcome = store(sink, *batches)

    assert isinstance(outcome, Refused)
    assert [r.entry for r in outcome.refusals] == bad
    assert {r.reason for r in outcome.refusals} == {DeadLetterReason.REFUSED_BY_DATABASE}
    assert "Example_input_check" in outcome.refusals[0].error
    assert tables.query(database_url, 'SELECT count(*) FROM "Example"') == [(1,)]
    rest = store(sink, *without(batches, [r.entry for r in outcome.refusals]))
    assert fates(rest) == Stored({PARTITION: 300}, stored=294, duplicates=2, rejected=3)


def test_a_refusal_that_is_no_rows_fault_dead_letters_nothing(
    sink: PostgresSink, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    tables.query(database_url, "ALTER TABLE intent_window_stats ADD CHECK (n < 3)")
    outcome = store(sink, batch([entry(i) for i in range(5)]))
    assert isinstance(outcome, Unavailable)
    assert "none of its rows alone" in caplog.text


def test_a_database_that_only_reads_is_worth_another_try(
    sink: PostgresSink, database_url: str
) -> None:
    name = database_url.rpartition("/")[2]
    tables.query(database_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    outcome = store(sink, batch([entry(0)]))
    assert isinstance(outcome, Retry)
    assert "25006" in outcome.error


def test_a_table_that_is_gone_is_told_loudly(
    sink: PostgresSink, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    tables.query(database_url, "DROP TABLE intent_hourly_stats CASCADE")
    assert isinstance(store(sink, batch([entry(0)])), Unavailable)
    assert "unforeseen database error 42P01" in caplog.text


class Frozen:
    """A file whose reader waits in the middle of a COPY until it is released."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self.reading = threading.Event()
        self.released = threading.Event()

    def read(self, _size: int) -> bytes:
        if not self.reading.is_set():
            self.reading.set()
            return self._payload
        self.released.wait(30)
        return b""


def test_a_writer_stalled_inside_its_copy_is_ended(sink: PostgresSink, database_url: str) -> None:
    """It holds the partition's lock, and an id that the other partition brings as well."""
    store(sink, batch([entry(0)]))
    group = sink.prepare([batch([entry(1)])])
    frozen, ended = Frozen(group.payload), threading.Event()

    def stall() -> None:
        connection = session(database_url, "intentloop-stalled")
        with suppress(psycopg2.Error), closing(connection), connection.cursor() as cursor:
            cursor.execute(LOCK_LINES)
            try:
                cursor.copy_expert(COPY_EXAMPLES, frozen)
            except psycopg2.OperationalError:
                ended.set()

    thread = threading.Thread(target=stall)
    thread.start()
    assert frozen.reading.wait(10)
    try:
        assert fates(sink.store(group)) == Stored({PARTITION: 2}, stored=1)
    finally:
        frozen.released.set()
        thread.join()
    assert ended.is_set()


def test_a_stalled_writer_of_another_partition_is_ended_when_it_holds_an_example(
    sink: PostgresSink, database_url: str
) -> None:
    held = sink.prepare([batch([entry(0)], partition=partition(1))])
    with closing(session(database_url, "intentloop-stalled")) as stalled:
        with stalled.cursor() as cursor:
            cursor.copy_expert(COPY_EXAMPLES, BytesIO(held.payload))
        assert store(sink, batch([entry(0)])).stored == 1


def test_somebody_elses_lock_is_left_alone(sink: PostgresSink, database_url: str) -> None:
    store(sink, batch([entry(0)]))
    with closing(session(database_url, "psql")) as other:
        with other.cursor() as cursor:
            cursor.execute(LOCK_LINES)
            outcome = store(sink, batch([entry(1)]))
            assert isinstance(outcome, Retry)
            assert "55P03" in outcome.error
            cursor.execute("SELECT 1")
        other.rollback()
        assert fates(store(sink, batch([entry(1)]))) == Stored({PARTITION: 2}, stored=1)


def test_a_writer_that_has_only_just_begun_is_left_alone(
    sink: PostgresSink, database_url: str
) -> None:
    store(sink, batch([entry(0)]))
    young, waiting = (session(database_url, f"intentloop-{name}") for name in ("young", "waiting"))
    with closing(young), closing(waiting), young.cursor() as holder, waiting.cursor() as waiter:
        holder.execute(LOCK_LINES)
        waiter.execute("SET lock_timeout = '500ms'")
        pid = waiting.info.backend_pid
        with (
            ending_stalled_writers(database_url, "w", pid, stalled_seconds=60),
            pytest.raises(LockNotAvailable),
        ):
            waiter.execute(LOCK_LINES)
        holder.execute("SELECT 1")


def test_a_database_that_is_away_and_comes_back(
    sink: PostgresSink, database_url: str, proxy: Proxy
) -> None:
    entries = traffic(range(40))
    with closing(make_sink(proxy.url)) as through:
        assert store(through, *tens(entries[:20])).stored == 20
        proxy.close_road()
        group = through.prepare(tens(entries[20:]))
        assert isinstance(through.store(group), Unavailable)
        assert isinstance(through.store(group), Unavailable)
        assert isinstance(through.lines([PARTITION]), Unavailable)
        assert isinstance(through.record_loss(PARTITION, 99), Unavailable)
        with pytest.raises(DatabaseUnavailableError, match="does not answer"):
            through.check_schema()
        proxy.open_road()
        assert fates(through.store(group)) == Stored({PARTITION: 40}, stored=20)
    assert tables.query(database_url, 'SELECT count(*) FROM "Example"') == [(40,)]


@pytest.mark.usefixtures("sink")
def test_a_lost_answer_to_commit_does_no_harm(database_url: str, proxy: Proxy) -> None:
    with closing(make_sink(proxy.url)) as through:
        group = through.prepare(tens(traffic(range(20))))
        proxy.lose_answer_to(b"COMMIT")
        assert isinstance(through.store(group), Unavailable)
        assert proxy.lost.is_set()
        assert fates(through.store(group)) == Stored({PARTITION: 20}, fenced=20)
    assert tables.accounted(database_url) == 20
    assert tables.query(database_url, "SELECT sum(n)::int FROM intent_window_stats") == [(20,)]


def test_an_ended_session_is_opened_again(sink: PostgresSink, database_url: str) -> None:
    store(sink, batch([entry(0)]))
    end = """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s
    """
    tables.query(database_url, end, "intentloop-w")
    assert isinstance(store(sink, batch([entry(1)])), Unavailable)
    assert fates(store(sink, batch([entry(1)]))) == Stored({PARTITION: 2}, stored=1)
