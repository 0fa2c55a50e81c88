"""The SQL of the transaction. The values of many rows travel as one array for each column."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from intentloop_schemas import WindowKey, WindowStatistics
from intentloop_schemas.statistics import HISTOGRAM_BINS
from intentloop_sink.encoding import COPY_COLUMNS, array_literal
from intentloop_sink.prepared import Range, Windows

COPY_EXAMPLES = (
    'COPY "Example" (' + ", ".join(f'"{name}"' for name in COPY_COLUMNS) + ") FROM STDIN"
)

BEGIN = """
BEGIN ISOLATION LEVEL READ COMMITTED;
SELECT set_config('lock_timeout', %(lock_timeout)s, true),
       set_config('statement_timeout', %(statement_timeout)s, true),
       set_config('idle_in_transaction_session_timeout', %(statement_timeout)s, true);
"""

# The version is read in the statement that takes the lock: whoever changes it waits for all that
# hold one, so that none is left which does not know of the change.
LOCK_LINES = """
SELECT topic_id, partition, next_position, (SELECT version FROM suppression) FROM ingest_offset
WHERE (topic_id, partition) IN %(lines)s ORDER BY topic_id, partition FOR UPDATE
"""

# In a transaction of its own: a row that nobody else can see yet would make others wait for it,
# and nobody could tell for whom.
INSERT_LINE = """
INSERT INTO ingest_offset (topic_id, partition, topic, next_position, highest_timestamp, writer)
VALUES (%s, %s, %s, %s, 0, %s) ON CONFLICT (topic_id, partition) DO NOTHING;
"""

# OFFSET 0 keeps the planner from joining the other way round: one look at the index for each id,
# however large the table and whatever its statistics say.
KNOWN_CONTENTS = """
SELECT e.* FROM unnest(%s::text[]) AS wanted (id), LATERAL (
  SELECT id, input, "predictedIntent", confidence,
         (extract(epoch FROM "createdAt") * 1000)::bigint, "eventId", sender, channel, language,
         "modelVersion", "sessionId", "messageId", "currentStep", alternatives
  FROM "Example" WHERE "Example".id = wanted.id OFFSET 0) AS e
"""

INSERT_DATASETS = """
INSERT INTO dataset (id, name) SELECT id, name FROM unnest(%s::text[], %s::text[]) AS d (id, name)
ON CONFLICT (id) DO NOTHING;
"""

COUNT_EXAMPLES = """
INSERT INTO dataset_counter AS c (dataset_id, topic_id, partition, examples, updated_at)
SELECT dataset_id, %s, %s, examples, clock_timestamp()
FROM unnest(%s::text[], %s::bigint[]) AS d (dataset_id, examples)
ON CONFLICT (dataset_id, topic_id, partition) DO UPDATE
SET examples = c.examples + excluded.examples, updated_at = excluded.updated_at;
"""

# For whoever makes review cards; the same transaction, so that nothing flagged is ever missed.
INSERT_FLAGGED = """
INSERT INTO review_inbox (example_ids) SELECT ids::text[] FROM unnest(%s::text[]) AS ids;
"""

ADVANCE_LINES = """
UPDATE ingest_offset AS o
SET next_position = l.next_position,
    highest_timestamp = greatest(o.highest_timestamp, l.highest_timestamp),
    updated_at = clock_timestamp(), writer = %s
FROM unnest(%s::text[], %s::integer[], %s::bigint[], %s::bigint[])
  AS l (topic_id, partition, next_position, highest_timestamp)
WHERE o.topic_id = l.topic_id AND o.partition = l.partition;
"""

LINES = """
SELECT topic_id, partition, next_position, highest_timestamp FROM ingest_offset
WHERE (topic_id, partition) IN %s
"""

INSERT_LOSS = """
INSERT INTO ingest_loss (topic_id, partition, first_position, next_position, topic, writer)
VALUES (%s, %s, %s, %s, %s, %s);
"""

# Of each partition the lowest position that has a fate.
BEGINNINGS = """
SELECT topic_id, partition, least(o.next_position, (
    SELECT min(first_position) FROM conversation_batch AS b
    WHERE b.topic_id = o.topic_id AND b.partition = o.partition), (
    SELECT min(first_position) FROM ingest_loss AS l
    WHERE l.topic_id = o.topic_id AND l.partition = o.partition))
FROM ingest_offset AS o WHERE (topic_id, partition) IN %s
"""

LOSSES = """
SELECT topic_id, partition, first_position, next_position FROM ingest_loss
WHERE (topic_id, partition) IN %s ORDER BY topic_id, partition, first_position
"""

# What remains of a loss keeps its date and its writer.
SHRINK_LOSS = """
WITH whole AS (
  DELETE FROM ingest_loss WHERE topic_id = %s AND partition = %s AND first_position = %s
  RETURNING topic_id, partition, topic, recorded_at, writer)
INSERT INTO ingest_loss
  (topic_id, partition, topic, recorded_at, writer, first_position, next_position)
SELECT whole.*, rest.* FROM whole, unnest(%s::bigint[], %s::bigint[]) AS rest;
"""


class Statement(NamedTuple):
    """A statement and its parameters; several become one message to the server."""

    sql: str
    parameters: Sequence[Any]


class _Column(NamedTuple):
    """A column filled from an array: its type there, and how it is read from that."""

    name: str
    type: str
    read: str = "{}"
    literal: Callable[[Iterable[Any]], str] = array_literal


def numbers(values: Iterable[int]) -> str:
    """Return an array literal of numbers."""
    return "{" + ",".join(map(str, values)) + "}"


_TO_TIME = "to_timestamp({} / 1000.0)"

_STATISTICS_KEY = (
    _Column("dataset_id", "text"),
    _Column("intent", "text"),
    _Column("channel", "text"),
    _Column("model_version", "text"),
    _Column("window_start", "bigint", _TO_TIME, numbers),
    _Column("window_seconds", "integer", literal=numbers),
)
_SUMS = (
    _Column("n", "bigint", literal=numbers),
    _Column("flagged_n", "bigint", literal=numbers),
    _Column("low_confidence_n", "bigint", literal=numbers),
    _Column("fallback_n", "bigint", literal=numbers),
    _Column("late_n", "bigint", literal=numbers),
    _Column("confidence_sum_micros", "bigint", literal=numbers),
    _Column("confidence_sumsq_micros", "numeric", literal=numbers),
)
_STATISTICS = (
    *_STATISTICS_KEY,
    *_SUMS,
    _Column("confidence_min_micros", "integer", literal=numbers),
    _Column("confidence_max_micros", "integer", literal=numbers),
    _Column("first_event_at", "bigint", _TO_TIME, numbers),
    _Column("last_event_at", "bigint", _TO_TIME, numbers),
    # An array of arrays cannot be unnested row by row; an array of their texts can.
    _Column("confidence_histogram", "text", "{}::bigint[]"),
)

_RANGES = (
    _Column("topic", "text"),
    _Column("topic_id", "text"),
    _Column("partition", "integer", literal=numbers),
    _Column("first_position", "bigint", literal=numbers),
    _Column("next_position", "bigint", literal=numbers),
    _Column("closed_by", "text"),
    _Column("source", "text"),
    _Column("opened_at", "bigint", _TO_TIME, numbers),
    _Column("batches", "integer", literal=numbers),
    _Column("stored", "integer", literal=numbers),
    _Column("duplicates", "integer", literal=numbers),
    _Column("rejected", "integer", literal=numbers),
    _Column("flagged", "integer", literal=numbers),
    _Column("suppressed", "integer", literal=numbers),
)


def _insert(table: str, columns: Sequence[_Column], **more: str) -> str:
    """Return INSERT .. SELECT .. FROM unnest(..); `more` are columns the server fills."""
    names = ", ".join([*(column.name for column in columns), *more])
    values = ", ".join(
        [*(column.read.format(f"v.{column.name}") for column in columns), *more.values()]
    )
    arrays = ", ".join(f"%s::{column.type}[]" for column in columns)
    rows = ", ".join(column.name for column in columns)
    source = f"unnest({arrays}) AS v ({rows})"
    return f"INSERT INTO {table} AS t ({names}) SELECT {values} FROM {source}"  # noqa: S608 - constants of this module


def _arrays(columns: Sequence[_Column], rows: Iterable[Sequence[Any]]) -> list[str]:
    values = zip(*rows, strict=True)
    return [column.literal(value) for column, value in zip(columns, values, strict=True)]


def _add_up() -> str:
    """Return the ON CONFLICT clause that merges statistics as WindowStatistics.merge does."""
    bins = range(1, HISTOGRAM_BINS + 1)
    histogram = ", ".join(
        f"t.confidence_histogram[{i}] + excluded.confidence_histogram[{i}]" for i in bins
    )
    merged = {
        **{c.name: f"t.{c.name} + excluded.{c.name}" for c in _SUMS},
        "confidence_min_micros": _merged("least", "confidence_min_micros"),
        "confidence_max_micros": _merged("greatest", "confidence_max_micros"),
        "confidence_histogram": f"ARRAY[{histogram}]",
        "first_event_at": _merged("least", "first_event_at"),
        "last_event_at": _merged("greatest", "last_event_at"),
        "updated_at": "excluded.updated_at",
    }
    key = ", ".join(column.name for column in _STATISTICS_KEY)
    changes = ", ".join(f"{name} = {value}" for name, value in merged.items())
    return f"ON CONFLICT ({key}) DO UPDATE SET {changes};"


def _merged(function: str, column: str) -> str:
    return f"{function}(t.{column}, excluded.{column})"


_UPSERT = {
    table: f"{_insert(table, _STATISTICS, updated_at='clock_timestamp()')} {_add_up()}"
    for table in ("intent_window_stats", "intent_hourly_stats")
}
_INSERT_RANGES = (
    _insert("conversation_batch", _RANGES, committed_at="clock_timestamp()", writer="%s") + ";"
)


def add_statistics(table: str, windows: Windows) -> Statement:
    """Add windows to a table of statistics, in key order so that writers cannot deadlock."""
    rows = [_statistics_row(key, windows[key]) for key in sorted(windows)]
    return Statement(_UPSERT[table], _arrays(_STATISTICS, rows))


def insert_ranges(ranges: Sequence[Range], writer: str) -> Statement:
    """Record which positions are accounted for, and how."""
    return Statement(_INSERT_RANGES, [writer, *_arrays(_RANGES, map(_range_row, ranges))])


def _statistics_row(key: WindowKey, s: WindowStatistics) -> tuple[Any, ...]:
    return (
        key.dataset_id,
        key.intent,
        key.channel,
        key.model_version,
        key.window_start,
        key.window_seconds,
        s.n,
        s.flagged_n,
        s.low_confidence_n,
        s.fallback_n,
        s.late_n,
        s.confidence_sum_micros,
        s.confidence_sumsq_micros,
        s.confidence_min_micros,
        s.confidence_max_micros,
        s.first_event_at,
        s.last_event_at,
        _histogram(*s.confidence_histogram),
    )


@lru_cache(maxsize=4096)
def _histogram(*counts: int) -> str:
    """Return the array of a histogram. Where windows are many, most hold one event each."""
    return numbers(counts)


def _range_row(row: Range) -> tuple[Any, ...]:
    return (
        *row.partition,
        row.first_position,
        row.next_position,
        row.closed_by,
        row.source,
        row.opened_at,
        row.batches,
        row.stored,
        row.duplicates,
        row.rejected,
        row.flagged,
        row.suppressed,
    )
