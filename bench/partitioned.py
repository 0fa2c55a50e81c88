"""The table "Example" beside one partitioned by time: COPY, retention by DELETE or DROP.

The partitions are ranges of ids: an id begins with its second, so id alone stays the primary key,
and an event sent twice still meets its first copy.
"""

from __future__ import annotations

import argparse
import io
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class

from bench import report
from bench.__main__ import FOLDER, say
from bench.ground import execute, ground, query
from bench.peers import rows
from bench.results import DEFAULT, Results, circumstances
from bench.traffic import Traffic

DAY_SECONDS = 86_400
GROUP = 10_000
_SCHEMA = "bench_partitioned"
_PLAIN, _PARTITIONED = "one table", "a partition a day"


def main() -> None:
    """Measure and write the report."""
    options = _options()
    with ground(FOLDER) as place, place.database("bench_partitioned") as url:
        about = circumstances(place, rows=options.rows, days=options.days)
        lines = Results(options.results, "partitioned", about)
        groups = list(_groups(options.rows, options.days))
        first_day = _first_second(options.days)
        for number in range(options.rounds):
            execute(url, f"DROP SCHEMA IF EXISTS {_SCHEMA} CASCADE")
            _create(url, options.days)
            order = [_PLAIN, _PARTITIONED]
            random.Random(number).shuffle(order)
            for name in order:
                execute(url, "CHECKPOINT")
                seconds = _copy(url, _TABLES[name], groups)
                lines.add("copy", table=name, rows_per_second=round(options.rows / seconds, 1))
                say(f"COPY into {name}: {options.rows / seconds:,.0f} rows/s")
            for way, measured in _retention(url, first_day):
                lines.add("retention", way=way, **measured)
                say(f"{way}: {measured}")
    say(f"report: {report.write(options.results)}")


_TABLES = {_PLAIN: f'{_SCHEMA}."Example"', _PARTITIONED: f'{_SCHEMA}."ByDay"'}


def _create(url: str, days: int) -> None:
    """Create both tables with all indexes and checks of the real one."""
    execute(url, f"CREATE SCHEMA {_SCHEMA}")
    execute(url, f'CREATE TABLE {_TABLES[_PLAIN]} (LIKE public."Example" INCLUDING ALL)')
    execute(
        url,
        f'CREATE TABLE {_TABLES[_PARTITIONED]} (LIKE public."Example" INCLUDING ALL) '
        "PARTITION BY RANGE (id)",
    )
    first = _first_second(days)
    for day in range(days + 1):
        begin = first + day * DAY_SECONDS
        execute(
            url,
            f"CREATE TABLE {_SCHEMA}.day_{day} PARTITION OF {_TABLES[_PARTITIONED]} "
            f"FOR VALUES FROM ('ex-{begin}') TO ('ex-{begin + DAY_SECONDS}')",
        )


def _first_second(days: int) -> int:
    """Return the midnight, in epoch seconds, that all rows come after."""
    return int(time.time()) // DAY_SECONDS * DAY_SECONDS - days * DAY_SECONDS


def _groups(count: int, days: int) -> Iterator[bytes]:
    """Yield COPY text for transactions, spread evenly over the days in order of time."""
    end = (_first_second(days) + days * DAY_SECONDS) * 1000 - 1
    # Event time goes on in milliseconds, so the rate is stretched: one traffic a day.
    traffic = Traffic(count, events_per_second=1_000)
    stretch = days * DAY_SECONDS * 1000 / count
    lines: list[str] = []
    for number, event in enumerate(traffic.events_until(end)):
        moment = _first_second(days) * 1000 + int(number * stretch)
        lines.append(rows.line({**event, "timestamp": moment}))
        if len(lines) == GROUP:
            yield "".join(sorted(lines)).encode()
            lines = []
    if lines:
        yield "".join(sorted(lines)).encode()


def _copy(url: str, table: str, groups: list[bytes]) -> float:
    statement = rows.COPY.replace('"Example"', table, 1)
    connection = psycopg2.connect(url)
    begin = time.perf_counter()
    for group in groups:
        with connection, connection.cursor() as cursor:
            cursor.copy_expert(statement, io.BytesIO(group), 1 << 20)
    seconds = time.perf_counter() - begin
    connection.close()
    return seconds


def _retention(url: str, first_day: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Remove the oldest day from both tables."""
    until = datetime.fromtimestamp(first_day + DAY_SECONDS, UTC)
    yield (
        "DELETE",
        _timed(url, f"""DELETE FROM {_TABLES[_PLAIN]} WHERE "createdAt" < '{until.isoformat()}'"""),
    )
    yield "VACUUM after it", _timed(url, f"VACUUM {_TABLES[_PLAIN]}")
    yield "DROP of the partition", _timed(url, f"DROP TABLE {_SCHEMA}.day_0")


def _timed(url: str, statement: str) -> dict[str, float]:
    """Return the seconds a statement took and the megabytes that it gave back to the disk."""
    connection: Connection = psycopg2.connect(url)
    connection.autocommit = True
    before = _megabytes(url)
    begin = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute(statement)
    seconds = time.perf_counter() - begin
    connection.close()
    return {"seconds": round(seconds, 4), "freed_mb": round(max(0.0, before - _megabytes(url)), 1)}


def _megabytes(url: str) -> float:
    return float(query(url, "SELECT pg_database_size(current_database())")[0][0]) / 1e6


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.partitioned", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=DEFAULT)
    return parser.parse_args()


if __name__ == "__main__":
    main()
