"""One group of batches, one transaction: examples, statistics, ranges, counters and progress.

Locks are always taken in this order: rows of `ingest_offset` by topic id and partition, examples
by id, statistics by key. So writers wait for each other, but never in a circle.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import is_
from typing import NamedTuple

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

from intentloop_schemas import Batch, TopicPartition
from intentloop_schemas.failpoint import Failpoint, no_failpoint
from intentloop_sink import statements
from intentloop_sink.content import Content
from intentloop_sink.cuts import fence
from intentloop_sink.encoding import LineEncoder, array_literal
from intentloop_sink.naming import dataset_name
from intentloop_sink.outcome import OutOfTurn, Refused, Stored
from intentloop_sink.prepared import Prepared, prepare, records, settle, stored
from intentloop_sink.recovery import divide, losses_below, shrink
from intentloop_sink.statements import Statement
from intentloop_sink.suppression import Suppression

_COPY_BYTES = 1 << 20
"""Handed over at a time; with psycopg2's 8 KiB a COPY takes longer."""

_INBOX_IDS = 1_000
"""Flagged examples in one row of the review inbox: what a queue takes up is bounded in rows."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the database may take, in seconds."""

    lock: float
    statement: float

    def settings(self) -> dict[str, str]:
        """Return them as values of Postgres settings."""
        return {
            "lock_timeout": f"{round(self.lock * 1000)}ms",
            "statement_timeout": f"{round(self.statement * 1000)}ms",
        }


class Begun(NamedTuple):
    """What a transaction knows when it holds its locks."""

    positions: dict[TopicPartition, int]
    """The next positions of those partitions that exist."""
    suppression: int
    """The version of what must not be kept."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """Stores one group over a connection in autocommit mode.

    `suppression` leaves out what must not be kept. `failpoint` is called as "store.before_copy",
    "store.after_copy", "store.before_commit" and "store.after_commit".
    """

    connection: Connection
    writer: str
    timeouts: Timeouts
    encoder: LineEncoder
    suppression: Suppression
    failpoint: Failpoint = no_failpoint

    def run(self, prepared: Prepared, *, careful: bool) -> Stored | Refused | OutOfTurn:
        """Store a group; when `careful`, look first which of its events are there already.

        Leaves an open transaction to the caller unless the answer is Stored with something new.
        Raises psycopg2.Error; UniqueViolation means that one of the events was there already.
        """
        with self.connection.cursor() as cursor:
            positions, version = self._lock(cursor, prepared.batches)
            losses = losses_below(cursor, prepared.batches, positions, self.writer)
            recovered, rest = divide(prepared.batches, losses, positions)
            kept = fence(rest, positions)
            if isinstance(kept, OutOfTurn):
                return kept
            fenced = records(rest) - records(kept)
            self.suppression.refresh(cursor, version)
            prepared = self._cut(prepared, self.suppression.apply([*recovered, *kept]))
            if careful or prepared.conflicts:
                prepared = leave_out_known(cursor, prepared)
            if prepared.conflicts:
                return Refused(tuple(prepared.conflicts))
            if prepared.batches:
                self._write(cursor, prepared, kept, shrink(losses, recovered))
            return stored(prepared, {**positions, **_ends(kept)}, fenced)

    def _lock(self, cursor: Cursor, batches: Sequence[Batch]) -> Begun:
        """Begin, and lock the group's partitions."""
        firsts: dict[TopicPartition, int] = {}
        for batch in batches:
            firsts.setdefault(batch.partition, batch.first_position)
        begun = begin(cursor, self.timeouts, list(firsts))
        missing = firsts.keys() - begun.positions.keys()
        if missing:
            cursor.execute("ROLLBACK")
            begin_lines(
                cursor, {partition: firsts[partition] for partition in missing}, self.writer
            )
            begun = begin(cursor, self.timeouts, list(firsts))
        return begun

    def _cut(self, prepared: Prepared, kept: Sequence[Batch]) -> Prepared:
        before = prepared.batches
        if len(kept) == len(before) and all(map(is_, kept, before)):
            return prepared
        return prepare(kept, prepared.window_seconds, self.encoder)

    def _write(
        self,
        cursor: Cursor,
        prepared: Prepared,
        ahead: Sequence[Batch],
        shrunk: Sequence[Statement],
    ) -> None:
        """Write everything and commit; what follows the examples is one message.

        Only the batches `ahead` move partitions on; those recovered from a loss lie behind.
        """
        self.failpoint("store.before_copy")
        copy_examples(cursor, prepared.payload)
        self.failpoint("store.after_copy")
        sizes = _dataset_sizes(prepared)
        parts = [
            # Always, because one that was there a moment ago may have been deleted.
            *_new_datasets(sizes.keys()),
            *_statistics(prepared),
            statements.insert_ranges(prepared.ranges, self.writer),
            *_count(sizes, prepared.batches[0].partition),
            *_flagged(prepared),
            *shrunk,
            _advance(ahead, self.writer),
            Statement("COMMIT", ()),
        ]
        self.failpoint("store.before_commit")
        send(cursor, parts)
        self.failpoint("store.after_commit")


def begin(cursor: Cursor, timeouts: Timeouts, partitions: Sequence[TopicPartition]) -> Begun:
    """Begin a transaction and lock partitions."""
    keys = {(p.topic_id, p.partition): p for p in partitions}
    parameters = {**timeouts.settings(), "lines": tuple(keys)}
    cursor.execute(statements.BEGIN + statements.LOCK_LINES, parameters)
    rows = cursor.fetchall()
    positions = {keys[topic_id, number]: position for topic_id, number, position, _ in rows}
    return Begun(positions, (rows[0][3] if rows else None) or 0)


def begin_lines(cursor: Cursor, origins: Mapping[TopicPartition, int], writer: str) -> None:
    """Note where partitions begin, unless they are known. Outside of a transaction."""
    ordered = sorted(origins, key=lambda partition: (partition.topic_id, partition.partition))
    rows = [(p.topic_id, p.partition, p.topic, origins[p], writer) for p in ordered]
    send(cursor, [Statement(statements.INSERT_LINE, row) for row in rows])


def copy_examples(cursor: Cursor, payload: bytes) -> None:
    """Write examples from the text of their lines."""
    if payload:
        cursor.copy_expert(statements.COPY_EXAMPLES, io.BytesIO(payload), size=_COPY_BYTES)


def leave_out_known(cursor: Cursor, prepared: Prepared) -> Prepared:
    """Return the group without what the database holds already; contradictions become conflicts."""
    cursor.execute(statements.KNOWN_CONTENTS, (array_literal(sorted(prepared.lines)),))
    known = {row[0]: Content(*row[1:]) for row in cursor}
    return settle(prepared, known) if known else prepared


def send(cursor: Cursor, parts: Sequence[Statement]) -> None:
    """Execute statements as one message to the server."""
    parameters = [value for part in parts for value in part.parameters]
    cursor.execute("".join(part.sql for part in parts), parameters)


def _dataset_sizes(prepared: Prepared) -> Counter[str]:
    sizes: Counter[str] = Counter()
    for key, statistics in prepared.windows.items():
        sizes[key.dataset_id] += statistics.n
    return sizes


def _new_datasets(ids: Iterable[str]) -> list[Statement]:
    ordered = sorted(ids)
    names = [dataset_name(dataset) for dataset in ordered]
    arrays = (array_literal(ordered), array_literal(names))
    return [Statement(statements.INSERT_DATASETS, arrays)] if ordered else []


def _statistics(prepared: Prepared) -> list[Statement]:
    if not prepared.windows:
        return []
    return [
        statements.add_statistics("intent_window_stats", prepared.windows),
        statements.add_statistics("intent_hourly_stats", prepared.hours),
    ]


def _count(sizes: Mapping[str, int], partition: TopicPartition) -> list[Statement]:
    """Count new examples in the part of a partition that is locked; only the sum has a meaning."""
    arrays = (array_literal(sizes), statements.numbers(sizes.values()))
    parameters = (partition.topic_id, partition.partition, *arrays)
    return [Statement(statements.COUNT_EXAMPLES, parameters)] if sizes else []


def _flagged(prepared: Prepared) -> list[Statement]:
    """Tell the review queue of what is flagged."""
    ids = [example_id for example_id, entry in prepared.fresh.items() if entry.reasons]
    rows = [array_literal(ids[i : i + _INBOX_IDS]) for i in range(0, len(ids), _INBOX_IDS)]
    return [Statement(statements.INSERT_FLAGGED, (array_literal(rows),))] if rows else []


def _advance(batches: Sequence[Batch], writer: str) -> Statement:
    last = {batch.partition: batch for batch in batches}
    arrays = (
        array_literal(partition.topic_id for partition in last),
        statements.numbers(partition.partition for partition in last),
        statements.numbers(batch.next_position for batch in last.values()),
        statements.numbers(batch.highest_timestamp for batch in last.values()),
    )
    return Statement(statements.ADVANCE_LINES, (writer, *arrays))


def _ends(batches: Sequence[Batch]) -> dict[TopicPartition, int]:
    return {batch.partition: batch.next_position for batch in batches}
