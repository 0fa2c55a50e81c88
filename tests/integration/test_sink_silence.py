"""A database that will never answer, and one that is only slow: from here they look the same."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import pytest

from intentloop_sink import PostgresSink, Retry, Stored, Unavailable, silence
from support import tables
from support.batches import PARTITION, batch, fates, tens, traffic
from support.proxy import Proxy

LOOK_SECONDS = 0.2
SLOW = """
CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN PERFORM pg_sleep(2); RETURN NULL; END $$;
CREATE TRIGGER slow AFTER INSERT ON "Example" EXECUTE FUNCTION dawdle();
"""


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "LOOK_SECONDS", LOOK_SECONDS)


@pytest.fixture
def road(database_url: str) -> Iterator[Proxy]:
    proxy = Proxy(database_url)
    yield proxy
    proxy.stop()


@contextmanager
def store_through(url: str, **options: Any) -> Iterator[PostgresSink]:
    with closing(PostgresSink(url, window_seconds=30, writer="w", **options)) as sink:
        yield sink


def rows(url: str) -> int:
    return int(tables.query(url, 'SELECT count(*) FROM "Example"')[0][0])


@pytest.mark.parametrize("moment", ["store.before_copy", "store.after_copy"])
def test_a_connection_that_swallows_everything_is_given_up(
    road: Proxy, database_url: str, moment: str
) -> None:
    def swallow(name: str) -> None:
        if name == moment:
            road.swallow()
            road.open_road()

    with store_through(road.url, failpoint=swallow) as sink:
        group = sink.prepare(tens(traffic(range(3_000))))
        outcome = sink.store(group)
    assert isinstance(outcome, Unavailable)

    # The server still holds the locks of the session that it believes in.
    with store_through(road.url, lock_timeout=0.3) as sink:
        assert isinstance(sink.store(group), Stored)
    assert rows(database_url) == 3_000


def test_a_database_that_nobody_can_ask_is_given_up(road: Proxy) -> None:
    with store_through(road.url, failpoint=lambda _: road.swallow()) as sink:
        assert isinstance(sink.store(sink.prepare(tens(traffic(range(20))))), Unavailable)


def test_a_slow_statement_is_waited_for(road: Proxy, database_url: str) -> None:
    tables.query(database_url, SLOW)
    began = time.monotonic()
    with store_through(road.url) as sink:
        assert isinstance(sink.store(sink.prepare(tens(traffic(range(20))))), Stored)
    assert time.monotonic() - began > 5 * LOOK_SECONDS


def test_who_waits_for_a_lock_is_left_alone(road: Proxy, database_url: str) -> None:
    group = [batch([], 0, next_position=1)]
    with (
        store_through(road.url, lock_timeout=8 * LOOK_SECONDS) as sink,
        closing(psycopg2.connect(database_url)) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        assert isinstance(sink.store(sink.prepare(group)), Stored)
        other.cursor().execute("SELECT 1 FROM ingest_offset FOR UPDATE")
        later = sink.prepare([batch([], 1, next_position=2)])
        assert isinstance(pool.submit(sink.store, later).result(30), Retry)
        other.rollback()
        assert fates(sink.store(later)) == Stored({PARTITION: 2})
