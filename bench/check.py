"""Whether a contestant's tables hold what they must, and if not, how they differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.expected import Expected, Key, Sums
from bench.ground import query
from bench.traffic import TICK_INTENT

FILLER = "ds-filler"
"""Dataset of rows that were there before the contestant came."""
_SHOWN = 2
_ROWS = f"""
SELECT id, ('x' || substr(md5(concat_ws(E'\\x1f', id, "datasetId", type, input, intent,
         array_to_string(tags, ','), (extract(epoch FROM "createdAt") * 1000)::bigint, "eventId",
         "predictedIntent", floor(1e6 * confidence + 0.5)::bigint,
         array_to_string("reviewReasons", ','), sender, channel, "modelVersion",
         coalesce("currentStep", ''))), 1, 15))::bit(60)::bigint AS hash
FROM "Example" WHERE "datasetId" <> '{FILLER}'
"""
_DIGEST = f"SELECT count(*), coalesce(sum(hash), 0) FROM ({_ROWS}) AS rows"
_STATISTICS = """
SELECT dataset_id, intent, channel, model_version,
       (extract(epoch FROM window_start) * 1000)::bigint, window_seconds, n, flagged_n,
       low_confidence_n, fallback_n, late_n, confidence_sum_micros,
       confidence_sumsq_micros::bigint, confidence_min_micros, confidence_max_micros,
       confidence_histogram, (extract(epoch FROM first_event_at) * 1000)::bigint,
       (extract(epoch FROM last_event_at) * 1000)::bigint
FROM {table}
"""


def problems(url: str, expected: Expected, *, hours: bool) -> list[str]:
    """Return what is wrong with a database's tables, nothing when they are as they must be.

    The last window of event time, which holds only ticks, is nobody's duty.
    """
    found = [
        *_row_problems(url, expected),
        *_differences("windows", statistics(url, "intent_window_stats"), expected.windows),
    ]
    if hours:
        found += _differences("hours", statistics(url, "intent_hourly_stats"), expected.hours)
    return found


def statistics(url: str, table: str) -> dict[Key, Sums]:
    """Return a table of statistics by key."""
    rows = query(url, _STATISTICS.format(table=table))
    return {row[:6]: list(row[6:]) for row in rows}


def _row_problems(url: str, expected: Expected) -> list[str]:
    if query(url, _DIGEST) == [expected.digest]:
        return []
    rows = dict(query(url, _ROWS))
    missing = expected.rows.keys() - rows.keys()
    surplus = rows.keys() - expected.rows.keys()
    changed = [key for key in rows.keys() & expected.rows.keys() if rows[key] != expected.rows[key]]
    parts = (("missing", missing), ("that should not be", surplus), ("with other content", changed))
    return [f"{len(ids):,} rows {what}, such as {min(ids)}" for what, ids in parts if ids]


def _differences(what: str, found: Mapping[Key, Sums], wanted: Mapping[Key, Sums]) -> list[str]:
    keys = sorted(
        key
        for key in found.keys() | wanted.keys()
        if key[1] != TICK_INTENT and found.get(key) != wanted.get(key)
    )
    if not keys:
        return []
    counted, due = _events(found), _events(wanted)
    shown = "; ".join(_difference(key, found, wanted) for key in keys[:_SHOWN])
    return [
        f"{len(keys):,} {what} of {len(wanted):,} differ, {counted:,} events of {due:,}: {shown}"
    ]


def _difference(key: Key, found: Mapping[Key, Sums], wanted: Mapping[Key, Sums]) -> str:
    name = f"{key[1]}/{key[2]} at {key[4]}"
    if key not in found or key not in wanted:
        return f"{name} is {'missing' if key in wanted else 'surplus'}"
    pairs = zip(_NAMES, found[key], wanted[key], strict=True)
    return f"{name} has " + ", ".join(f"{n} {a} not {b}" for n, a, b in pairs if a != b)


def _events(table: Mapping[Key, Any]) -> int:
    return sum(sums[0] for key, sums in table.items() if key[1] != TICK_INTENT)


_NAMES = (
    "n",
    "flagged",
    "low_confidence",
    "fallback",
    "late",
    "sum",
    "sumsq",
    "min",
    "max",
    "histogram",
    "first",
    "last",
)
