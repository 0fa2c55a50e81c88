"""Whether everything adds up: the log, the store and the spools against each other.

Of each partition every position from the first to the log's end is stored, a duplicate, rejected,
spooled, lost, or open: still in Kafka and on its way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition
from rich.table import Table

from intentloop_schemas import TopicPartition
from intentloop_schemas.kafka import KafkaSettings
from intentloop_sink.queries import Queries, Reconciled, queries
from intentloop_sink.spool import Extent, Run, waiting
from intentloop_stream.topics import log_ends, log_starts, quiet_admin, topic_ids

_TIMEOUT_SECONDS = 10.0
_COLUMNS = ("stored", "duplicates", "rejected", "spooled", "lost", "open")


class Log(NamedTuple):
    """The first offset that Kafka has, and the one behind the last."""

    start: int
    end: int


class HoledRange(NamedTuple):
    """A range with fewer records accounted for than positions, and how many Kafka has there."""

    first_position: int
    accounted: int
    in_kafka: int


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the records of one partition."""

    topic: str
    partition: int
    log_end: int | None
    """None when Kafka has no such log: HTTP has none, and a topic may have been deleted."""
    stored: int
    duplicates: int
    rejected: int
    spooled: int
    lost: int
    open: int
    problems: tuple[str, ...] = ()
    """Why it does not add up; empty when it does."""


def account(
    row: Reconciled, log: Log | None, runs: Sequence[Run], holed: Iterable[HoledRange] = ()
) -> Account:
    """Set one partition's rows against its log and what of it waits in spools.

    `runs` are in order and do not overlap.
    """
    stands_at = row.first_position if row.next_position is None else row.next_position
    spooled = list(_unstored(row.first_position, stands_at, runs))
    unsafe = list(_between(spooled, stands_at, log.end)) if log else []
    return Account(
        row.topic,
        row.partition,
        log.end if log else None,
        row.stored,
        row.duplicates,
        row.rejected,
        sum(end - first for first, end in spooled),
        row.lost,
        sum(end - first for first, end in unsafe),
        (
            *_in_store(row),
            *(_in_log(row, stands_at, log, unsafe) if log else ()),
            *_miscounted(holed),
        ),
    )


def reconcile(kafka: KafkaSettings, url: str, folder: Path, topic: str) -> list[Account]:
    """Return the accounts of all partitions of a topic, and of all else that the store knows.

    Workers may go on meanwhile. Blocks. Raises confluent_kafka.KafkaException when the broker is
    away or has no such topic, and intentloop_sink.DatabaseUnavailableError.
    """
    admin = quiet_admin(kafka)
    with queries(url) as store:
        known = {row.topic for row in store.reconciliation()}
        there = admin.list_topics(timeout=_TIMEOUT_SECONDS).topics
        topics = {topic, *(known & there.keys())}
        ids = topic_ids(kafka, topics)
        partitions = [TopicPartition(t, ids[t], p) for t in topics for p in there[t].partitions]
        # In this order, so that what moves on between two looks never seems to be missing.
        starts = log_starts(admin, partitions)
        spooled = waiting(folder)
        rows = {TopicPartition(r.topic, r.topic_id, r.partition): r for r in store.reconciliation()}
        ends = log_ends(admin, partitions)
        logs = {p: Log(starts[p], ends[p]) for p in starts.keys() & ends.keys()}
        return list(_accounts(kafka, store, rows, logs, spooled))


def table(accounts: Sequence[Account]) -> Table:
    """Return the accounts as a table; lines without a log are added up by topic."""
    result = Table("topic", "partition", title="Reconciliation")
    for name in ("log end", *_COLUMNS, "adds up"):
        result.add_column(name, justify="right")
    for one in _together(accounts):
        end = "none" if one.log_end is None else str(one.log_end)
        label = "all" if one.log_end is None else str(one.partition)
        counts = (str(getattr(one, name)) for name in _COLUMNS)
        result.add_row(one.topic, label, end, *counts, "[red]no[/]" if one.problems else "yes")
    return result


def _accounts(
    kafka: KafkaSettings,
    store: Queries,
    rows: Mapping[TopicPartition, Reconciled],
    logs: Mapping[TopicPartition, Log],
    spooled: Mapping[TopicPartition, Extent],
) -> Iterator[Account]:
    for partition in sorted({*rows, *logs, *spooled}):
        log = logs.get(partition)
        runs = spooled[partition].runs if partition in spooled else []
        row = rows.get(partition) or _unknown(partition, log, runs)
        holed = _holed(kafka, store, partition, log) if log and row.holes > 0 else ()
        yield account(row, log, runs, holed)


def _unknown(partition: TopicPartition, log: Log | None, runs: Sequence[Run]) -> Reconciled:
    """Return the row of a partition of which nothing is stored: it stands at its beginning."""
    start = min([*([log.start] if log else []), *(run.first_position for run in runs)])
    return Reconciled(*partition, start, start, 0, 0, 0, 0, 0, 0, adds_up=True)


def _unstored(beginning: int, stands_at: int, runs: Iterable[Run]) -> Iterator[tuple[int, int]]:
    """Yield what of the runs lies before the beginning of a partition, or where it stands."""
    for first, end, _ in runs:
        if first < min(end, beginning):
            yield first, min(end, beginning)
        if max(first, stands_at) < end:
            yield max(first, stands_at), end


def _between(runs: Iterable[tuple[int, int]], first: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges from `first` to `end` that no run covers."""
    for run_first, run_end in runs:
        if first < min(run_first, end):
            yield first, min(run_first, end)
        first = max(first, run_end)
    if first < end:
        yield first, end


def _in_store(row: Reconciled) -> Iterator[str]:
    if row.next_position is None:
        yield "ingest_offset does not say where it stands"
    if row.gaps:
        yield f"ranges are missing or overlap at {row.gaps} places: see conversation_batch_gaps"
    if row.holes < 0:
        yield f"{-row.holes} records more are accounted for than there are positions"


def _in_log(
    row: Reconciled, stands_at: int, log: Log, unsafe: Sequence[tuple[int, int]]
) -> Iterator[str]:
    if log.start < row.first_position:
        yield f"{row.first_position - log.start} positions before the first one were never read"
    if stands_at > log.end:
        yield f"the store stands at {stands_at}, behind the end of the log: Kafka has lost records"
    if gone := sum(max(0, min(end, log.start) - first) for first, end in unsafe):
        yield (
            f"Kafka has deleted {gone} positions that are neither stored nor spooled; a worker "
            "records them as lost when it comes there"
        )


def _miscounted(holed: Iterable[HoledRange]) -> Iterator[str]:
    for one in holed:
        if one.in_kafka > one.accounted:
            yield (
                f"Kafka has {one.in_kafka} records in the range that begins at "
                f"{one.first_position}, of which {one.accounted} are accounted for"
            )


def _holed(
    kafka: KafkaSettings, store: Queries, partition: TopicPartition, log: Log
) -> Iterator[HoledRange]:
    """Count the records of ranges with holes that Kafka still has: are the holes really empty?"""
    for first, end, accounted in store.ranges_with_holes(partition.topic_id, partition.partition):
        if first >= log.start:
            yield HoledRange(first, accounted, _records(kafka, partition, first, end))


def _records(kafka: KafkaSettings, partition: TopicPartition, first: int, end: int) -> int:
    """Return how many committed records a range of the log holds."""
    settings = {
        **kafka.librdkafka(),
        "group.id": "intentloop-doctor",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "log_level": 0,
    }
    consumer = Consumer(settings)
    try:
        consumer.assign([KafkaPartition(partition.topic, partition.partition, first)])
        records = 0
        while True:
            message = consumer.poll(_TIMEOUT_SECONDS)
            if message is None:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
            if message.error() and message.error().code() != KafkaError._PARTITION_EOF:
                raise KafkaException(message.error())
            if message.error() or message.offset() >= end:
                return records
            records += 1
    finally:
        consumer.close()


def _together(accounts: Sequence[Account]) -> Iterator[Account]:
    """Yield accounts with a log as they are, and of those without one the sum by topic."""
    yield from (one for one in accounts if one.log_end is not None)
    without_log = [one for one in accounts if one.log_end is None]
    for topic in sorted({one.topic for one in without_log}):
        same = [one for one in without_log if one.topic == topic]
        counts = {name: sum(getattr(one, name) for one in same) for name in _COLUMNS}
        yield replace(same[0], **counts, problems=tuple(p for one in same for p in one.problems))
