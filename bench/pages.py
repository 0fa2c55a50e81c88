"""How fast the pages answer with 5,000,000 examples and a month of windows, and by which plans."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import psycopg2
import structlog
from fastapi.testclient import TestClient
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class
from rich.console import Console
from rich.table import Table

from intentloop_admin.app import create_app
from intentloop_admin.security.authentication import HEADER
from intentloop_admin.services import Configuration, Services
from intentloop_admin.settings import ApiSettings
from intentloop_devstack import local_postgres
from intentloop_schemas.kafka import KafkaSettings
from intentloop_sink import DatabaseSettings, migrate
from intentloop_sink.spool import SpoolSettings

DATASET = "ds-auto-training"
DAYS = 30
_KEY = "a-key-for-the-benchmark-alone"
_WEEK = f"/training/datasets/{DATASET}"
PAGES = {
    "overview": "/",
    "overview, a month, one channel": "/?since={month}&channel=web",
    "live tail": "/tail",
    "dataset": _WEEK,
    "dataset, filtered": f"{_WEEK}?intent=intent_7&minConfidence=0.5",
    "dataset, least sure": f"{_WEEK}?order=least_sure",
    "intent, a week": f"{_WEEK}/intents/intent_3",
    "intent, 30 s windows": f"{_WEEK}/intents/intent_3?columns=window",
    "models, a week": f"{_WEEK}/models",
    "review, next card": "/review",
    "audit": "/audit",
    "pipeline": "/pipeline",
    "pipeline, accounts": "/pipeline/log",
}
_LIMIT_MS = {name: 100 if "card" in name else 300 for name in PAGES}

# 34 intents of unequal frequency, four channels, two models; a tenth is flagged. Texts repeat as
# customers repeat themselves.
_EXAMPLES = """
COPY "Example" (id, "datasetId", input, intent, tags, "createdAt", "eventId", "predictedIntent",
                confidence, "reviewReasons", sender, channel, "modelVersion", "currentStep",
                alternatives)
FROM STDIN
"""
_GENERATED = """
COPY (
  SELECT 'ex-' || second || '-' || substr(md5(i::text), 1, 16), %(dataset)s,
         'message ' || mod(i * 7919, 40000) || ' about intent ' || intent, 'intent_' || intent,
         CASE WHEN flagged THEN ARRAY['confidence:45', 'source:x', 'timestamp:1', 'needs_review']
              ELSE ARRAY['confidence:93', 'source:x', 'timestamp:1'] END,
         to_timestamp(second), 'event-' || i, 'intent_' || intent,
         CASE WHEN flagged THEN 0.45 ELSE 0.93 END,
         CASE WHEN flagged THEN ARRAY['low_confidence'] ELSE '{}'::text[] END,
         '+9100' || mod(i, 200000), (ARRAY['whatsapp','telegram','web','rcs'])[1 + mod(i, 4)],
         CASE WHEN mod(i, 3) = 0 THEN 'v1' ELSE 'v2' END, 'step_' || mod(i, 5),
         '[{"intent": "intent_0", "confidence": 0.3}]'
  FROM (SELECT i, %(start)s + i * %(seconds)s / %(rows)s AS second,
               mod(mod(i * 104729, 34) * mod(i * 1299709, 34), 34) AS intent,
               mod(i, 10) = 0 AS flagged
        FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS i) AS numbered
) TO STDOUT
"""
_STATISTICS = """
INSERT INTO {table}
SELECT "datasetId", date_bin('{width}', "createdAt", 'epoch'), "predictedIntent", channel,
       "modelVersion", {seconds}, count(*), count(*) FILTER (WHERE confidence < 0.7),
       count(*) FILTER (WHERE confidence < 0.7), 0, 0, sum(floor(1e6 * confidence))::bigint,
       sum(power(floor(1e6 * confidence), 2))::numeric, min(floor(1e6 * confidence))::int,
       max(floor(1e6 * confidence))::int,
       ARRAY[0,0,0,0,0,0,0,0,0, count(*) FILTER (WHERE confidence < 0.7), 0,0,0,0,0,0,0,0,
             count(*) FILTER (WHERE confidence >= 0.7), 0],
       min("createdAt"), max("createdAt"), now()
FROM "Example" GROUP BY 1, 2, 3, 4, 5
"""
_REST = """
INSERT INTO dataset (id, name) VALUES ('ds-auto-training', 'Auto training');
INSERT INTO dataset_counter SELECT 'ds-auto-training', 'bench', 0, count(*), now() FROM "Example";
INSERT INTO conversation_batch
SELECT 'bench', mod(b, 4), b / 4 * 10, b / 4 * 10 + 10, 'conversations', 1, 10, 0, 0, 1, 'size',
       'kafka', now() - (%(batches)s - b) * interval '5 seconds',
       now() - (%(batches)s - b) * interval '5 seconds' + interval '3 seconds', 'bench'
FROM generate_series(0, %(batches)s::bigint - 1) AS b;
INSERT INTO ingest_offset SELECT 'bench', partition, 'conversations', max(next_position),
       extract(epoch FROM now()) * 1000, now(), 'bench' FROM conversation_batch GROUP BY partition;
INSERT INTO review_inbox (example_ids)
SELECT array_agg(id) FROM (SELECT id, row_number() OVER () / 1000 AS part FROM "Example"
                           WHERE tags @> ARRAY['needs_review']) AS flagged GROUP BY part;
"""
_AT_ONCE = 500_000
_WARM_UP = 5


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.pages", description=__doc__)
    parser.add_argument("--examples", type=int, default=5_000_000)
    parser.add_argument("--requests", type=int, default=40, help="of each page, warm")
    options = parser.parse_args()
    out = Console(width=110)
    # A line for each request would hide the tables.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with (
        tempfile.TemporaryDirectory() as folder,
        local_postgres(Path(folder) / "postgres", environ={}, keep=False) as postgres,
    ):
        migrate(postgres.url)
        out.print(f"Postgres: {postgres.description}")
        with _told(out, f"{options.examples:,} examples and their statistics"):
            _fill(postgres.url, options.examples)
        with _api(postgres.url, Path(folder)) as api:
            with _told(out, "cards of what is flagged"):
                _await_cards(postgres.url)
            out.print(_timed(api, options.requests))
        out.print(_plans(postgres.url))


@contextmanager
def _told(out: Console, what: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    out.print(f"{what}: {time.monotonic() - started:.0f} s, load {os.getloadavg()[0]:.1f}")


def _fill(url: str, rows: int) -> None:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    seconds = DAYS * 86_400
    values = {"dataset": DATASET, "start": int(time.time()) - seconds, "seconds": seconds,
              "rows": rows}  # fmt: skip
    with connection.cursor() as cursor:
        for first in range(0, rows, _AT_ONCE):
            last = min(first + _AT_ONCE, rows) - 1
            _copy(connection, cursor.mogrify(_GENERATED, {**values, "first": first, "last": last}))
        for table, width, length in (
            ("intent_window_stats", "30 seconds", 30),
            ("intent_hourly_stats", "1 hour", 3600),
        ):
            cursor.execute(_STATISTICS.format(table=table, width=width, seconds=length))
        cursor.execute(_REST, {"batches": rows // 10})
        cursor.execute("VACUUM ANALYZE")
    connection.close()


def _copy(connection: Connection, generated: bytes) -> None:
    with tempfile.TemporaryFile() as rows, connection.cursor() as cursor:
        cursor.copy_expert(generated.decode(), rows)
        rows.seek(0)
        cursor.copy_expert(_EXAMPLES, rows, size=1 << 20)


@contextmanager
def _api(url: str, folder: Path) -> Iterator[TestClient]:
    configuration = Configuration(
        api=ApiSettings(admin_key=_KEY, requests_per_minute=0),
        database=DatabaseSettings(database_url=url),
        spool=SpoolSettings(folder=folder / "fallback"),
        kafka=KafkaSettings(bootstrap_servers=None),
    )
    headers = {HEADER: _KEY, "Accept": "text/html"}
    with TestClient(create_app(Services(configuration)), headers=headers) as api:
        yield api


def _await_cards(url: str) -> None:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        while True:
            cursor.execute("SELECT count(*) FROM review_inbox")
            if cursor.fetchone() == (0,):
                break
            time.sleep(1)
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("SELECT pg_stat_reset()")
    connection.close()


def _timed(api: TestClient, requests: int) -> Table:
    table = Table("page", "median ms", "p95 ms", "limit", "", title="Server time, warm")
    month = time.strftime("%Y-%m-%d", time.gmtime(time.time() - DAYS * 86_400))
    for name, path in PAGES.items():
        address = path.format(month=month)
        for _ in range(_WARM_UP):
            _milliseconds(api, address, _step(name))
        times = sorted(_milliseconds(api, address, _step(name)) for _ in range(requests))
        p95 = times[int(0.95 * len(times))]
        limit = _LIMIT_MS[name]
        verdict = "[green]kept" if p95 <= limit else "[red]missed"
        table.add_row(name, f"{median(times):.0f}", f"{p95:.0f}", str(limit), verdict)
    return table


def _step(name: str) -> Callable[[TestClient, str], None] | None:
    return _decide if "card" in name else None


def _milliseconds(
    api: TestClient, address: str, then: Callable[[TestClient, str], None] | None
) -> float:
    started = time.perf_counter()
    answer = api.get(address)
    passed = (time.perf_counter() - started) * 1000
    assert answer.status_code == 200, (address, answer.text[-500:])
    if then is not None:
        then(api, answer.text)
    return passed


def _decide(api: TestClient, page: str) -> None:
    """Accept the card, so that the next request is for another one."""
    card = page.partition('data-card="')[2][:32]
    answer = api.post("/review/decide", data={"card": card, "verdict": "accept"},
                      follow_redirects=False)  # fmt: skip
    assert answer.status_code == 303, answer.text


def _plans(url: str) -> Table:
    """Return how often "Example" was read as a whole while the pages were shown."""
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, seq_scan, seq_tup_read, idx_scan FROM pg_stat_user_tables "
            "WHERE relname IN ('Example', 'review_card', 'review_copy', 'intent_hourly_stats', "
            "'intent_window_stats') ORDER BY relname"
        )
        rows: list[Any] = cursor.fetchall()
    table = Table("table", "sequential scans", "rows read by them", "index scans")
    for row in rows:
        table.add_row(*map(str, row))
    return table


if __name__ == "__main__":
    started = time.monotonic()
    main()
    sys.stdout.write(f"took {time.monotonic() - started:.0f} s\n")
