"""An index of what lies in JSON files, so that the same questions can be asked of them.

The files are the truth. The index is a temporary SQLite database, made anew at each start: it knows
how far it has read each file, and reads on before each question.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    Index,
    MetaData,
    StaticPool,
    Table,
    Text,
    bindparam,
    create_engine,
    func,
    select,
    text,
)

from intentloop_schemas import Batch, Entry, TopicPartition
from intentloop_schemas.statistics import HISTOGRAM_BINS, HOUR_SECONDS
from intentloop_sink.content import Content
from intentloop_sink.cuts import fence
from intentloop_sink.encoding import alternatives_json, tags
from intentloop_sink.naming import dataset_name
from intentloop_sink.outcome import OutOfTurn
from intentloop_sink.spool.format import Header, decode
from intentloop_sink.spool.segments import Extent, Piece, pieces
from intentloop_sink.spool.spool import segment_paths
from intentloop_sink.suppression import SuppressionList
from intentloop_sink.tables import (
    conversation_batch,
    dataset,
    erased_sender,
    example,
    intent,
    logger_report,
    suppression,
)

_metadata = MetaData()

# The table as it is in Postgres, and where each row came from.
_example = Table(
    example.name,
    _metadata,
    *(column._copy() for column in example.columns),
    Column("late", Boolean, nullable=False),
    Column("file", Text, nullable=False),
)
Index("Example_newest", _example.c.datasetId, _example.c.createdAt)
Index("Example_file", _example.c.file)
_batches = Table(
    conversation_batch.name,
    _metadata,
    *(column._copy() for column in conversation_batch.columns),
    Column("file", Text, nullable=False, primary_key=True),
)
for _table in (dataset, intent, logger_report, erased_sender, suppression):
    _table.to_metadata(_metadata)

_WATERMARK_VIEW = """
CREATE VIEW conversation_watermark AS
SELECT max("createdAt") - 5000 AS watermark FROM "Example"
"""

_COUNTER_VIEW = """
CREATE VIEW dataset_counter AS
SELECT "datasetId" AS dataset_id, count(*) AS examples, NULL AS updated_at
FROM "Example" GROUP BY "datasetId"
"""

# What the tables of this name hold in Postgres, as far as questions need it.
_STATISTICS_VIEW = """
CREATE VIEW {view} AS
SELECT dataset_id, intent, channel, model_version, window_start, {seconds} AS window_seconds,
       count(*) AS n, sum(flagged) AS flagged_n, sum(low) AS low_confidence_n,
       sum(fallback) AS fallback_n, sum(late) AS late_n,
       sum(micros) AS confidence_sum_micros, sum(micros * micros) AS confidence_sumsq_micros,
       min(micros) AS confidence_min_micros, max(micros) AS confidence_max_micros,
       {bins},
       min(at) AS first_event_at, max(at) AS last_event_at
FROM (
  SELECT "datasetId" AS dataset_id, "predictedIntent" AS intent, channel,
         "modelVersion" AS model_version, "createdAt" AS at,
         "createdAt" - "createdAt" % ({seconds} * 1000) AS window_start,
         CAST(confidence * 1e6 + 0.5 AS INTEGER) AS micros,
         "reviewReasons" <> '[]' AS flagged,
         "reviewReasons" LIKE '%"low_confidence"%' AS low,
         "reviewReasons" LIKE '%"fallback_intent"%' AS fallback,
         late
  FROM "Example")
GROUP BY dataset_id, intent, channel, model_version, window_start
"""
_BIN = "sum(min(micros / 50000, 19) = {bin}) AS histogram_{bin}"

_COLUMNS = tuple(_example.columns.keys())
_INSERT = (
    f"INSERT OR IGNORE INTO {_example.name} ("  # noqa: S608 - names of our own
    + ", ".join(f'"{name}"' for name in _COLUMNS)
    + f") VALUES ({', '.join('?' * len(_COLUMNS))})"
)

# Built once: for each line anew they would cost more than what they do.
_ADD_BATCH = _batches.insert().prefix_with("OR REPLACE")
_ADD_DATASET = dataset.insert()
_TOUCH = (
    dataset.update()
    .where(dataset.c.id == bindparam("touched"))
    .values(
        updated_at=func.max(dataset.c.updated_at, bindparam("at", type_=dataset.c.updated_at.type))
    )
)

log = logging.getLogger(__name__)


class FileIndex:
    """What lies in the spools of a folder. For one thread at a time.

    Args:
        folder: the folder that holds those of all writers.
        window_seconds: length of the tumbling windows.
        writers: pattern for the names of those that are meant.
    """

    def __init__(self, folder: Path, *, window_seconds: int, writers: str = "*") -> None:
        self._folder = folder
        self._writers = writers
        self._loaded: dict[str, int] = {}
        self._extents: dict[TopicPartition, Extent] = {}
        self.engine = _database(window_seconds)

    @property
    def loaded(self) -> Mapping[str, int]:
        """How many bytes of each file are in the index."""
        return self._loaded

    @property
    def extents(self) -> Mapping[TopicPartition, Extent]:
        """What the files hold, or held, of each partition."""
        return self._extents

    def load(self, up_to: Mapping[str, int] | None = None) -> None:
        """Read on in all files, or, if given, no further than `up_to` in each."""
        present = {f"{path.parent.name}/{path.name}": path for path in self._paths()}
        with self.engine.begin() as connection:
            for name, path in present.items():
                end = _size(path) if up_to is None else up_to.get(name, 0)
                if self._loaded.get(name, 0) < end:
                    self._load(connection, name, path, end)
            if up_to is None:
                self._forget(connection, self._loaded.keys() - present.keys())

    def contents(self, ids: Collection[str]) -> dict[str, Content]:
        """Return the contents of those examples that are in the index."""
        c = _example.c
        wanted = select(
            c.id,
            c.input,
            c.predictedIntent,
            c.confidence,
            c.createdAt,
            c.eventId,
            c.sender,
            c.channel,
            c.language,
            c.modelVersion,
            c.sessionId,
            c.messageId,
            c.currentStep,
            c.alternatives,
        ).where(c.id.in_(ids))
        with self.engine.connect() as connection:
            rows: list[Any] = list(connection.execute(wanted))
        return {
            row.id: Content._make([*row[1:4], round(row.createdAt.timestamp() * 1000), *row[5:]])
            for row in rows
        }

    def suppressed(self) -> SuppressionList:
        """Return what must not be kept."""
        with self.engine.connect() as connection:
            erased = connection.execute(select(erased_sender)).all()
            key = connection.execute(select(suppression.c.key)).scalar()
        times = {row.sender_hash: round(row.erased_at.timestamp() * 1000) for row in erased}
        return SuppressionList(key=key or "", erased=times)

    def forget(self, senders: Collection[str]) -> None:
        """Leave out what senders wrote, which is in the files no more."""
        with self.engine.begin() as connection:
            connection.execute(_example.delete().where(_example.c.sender.in_(senders)))

    def close(self) -> None:
        """Throw the index away."""
        self.engine.dispose()

    def _paths(self) -> Iterator[Path]:
        for folder in sorted(self._folder.glob(self._writers)):
            yield from segment_paths(folder)

    def _load(self, connection: Connection, name: str, path: Path, end: int) -> None:
        start = self._loaded.get(name, 0)
        try:
            for piece in pieces(path, start):
                if piece.offset >= end or not piece.raw.endswith(b"\n"):
                    # Somebody may be writing the last line just now.
                    break
                self._loaded[name] = piece.offset + len(piece.raw)
                batch = _batch(piece)
                if batch is not None:
                    self._insert(connection, batch, name)
        except FileNotFoundError:
            log.debug("%s is stored meanwhile", path)

    def _insert(self, connection: Connection, batch: Batch, name: str) -> None:
        """Take in what no other line had: two writers may have stored the same positions."""
        extent = self._extents.setdefault(batch.partition, Extent())
        new = fence([batch], {batch.partition: extent.reach(batch.first_position)})
        extent.count(Header.of(batch))
        # What nobody can cut is taken whole; its examples are known by their ids.
        for part in [batch] if isinstance(new, OutOfTurn) else new:
            _insert(connection, part, name)

    def _forget(self, connection: Connection, names: Collection[str]) -> None:
        """Files that are gone have gone into the database."""
        for name in names:
            for table in (_example, _batches):
                connection.execute(table.delete().where(table.c.file == name))
            del self._loaded[name]


def _database(window_seconds: int) -> Engine:
    def connect() -> sqlite3.Connection:
        # Without a name: in memory, and on the disk as far as it grows.
        connection = sqlite3.connect("", check_same_thread=False)
        connection.create_function("lower", 1, _lower, deterministic=True)
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=StaticPool)
    views = {"intent_window_stats": window_seconds, "intent_hourly_stats": HOUR_SECONDS}
    with engine.begin() as connection:
        _metadata.create_all(connection)
        connection.execute(text(_COUNTER_VIEW))
        connection.execute(text(_WATERMARK_VIEW))
        for view, seconds in views.items():
            bins = ", ".join(_BIN.format(bin=number) for number in range(HISTOGRAM_BINS))
            statement = _STATISTICS_VIEW.format(view=view, seconds=seconds, bins=bins)
            connection.execute(text(statement))
    return engine


def _lower(value: str | None) -> str | None:
    """SQLite's own knows ASCII alone."""
    return None if value is None else value.lower()


def _batch(piece: Piece) -> Batch | None:
    """Return the batch of a line, None when it cannot be read, which who wrote it reports."""
    try:
        return None if piece.text is None else decode(piece.text)
    except ValueError:
        return None


def _insert(connection: Connection, batch: Batch, file: str) -> None:
    at = datetime.fromtimestamp(batch.opened_at / 1000, UTC)
    rows = [_row(entry, file) for entry in batch.entries]
    stored = connection.exec_driver_sql(_INSERT, rows).rowcount if rows else 0
    connection.execute(_ADD_BATCH, _range(batch, stored, file, at))
    for dataset_id in sorted({entry.event.dataset_id for entry in batch.entries}):
        _touch(connection, dataset_id, at)


def _range(batch: Batch, stored: int, file: str, at: datetime) -> dict[str, Any]:
    topic, topic_id, partition = batch.partition
    return {
        "topic": topic,
        "topic_id": topic_id,
        "partition": partition,
        "first_position": batch.first_position,
        "next_position": batch.next_position,
        "batches": batch.batches,
        "stored": stored,
        "duplicates": len(batch.entries) - stored,
        "rejected": batch.rejected,
        "flagged": sum(1 for entry in batch.entries if entry.reasons),
        "closed_by": batch.closed_by,
        "source": batch.source,
        "opened_at": at,
        "committed_at": at,
        "writer": file.partition("/")[0],
        "suppressed": batch.suppressed,
        "file": file,
    }


def _touch(connection: Connection, dataset_id: str, at: datetime) -> None:
    """Create a dataset on first use, and note when something came for it."""
    if not connection.execute(_TOUCH, {"touched": dataset_id, "at": at}).rowcount:
        new = {"id": dataset_id, "name": dataset_name(dataset_id), "type": "nlu"}
        connection.execute(_ADD_DATASET, {**new, "created_at": at, "updated_at": at})


def _row(entry: Entry, file: str) -> tuple[Any, ...]:
    event = entry.event
    alternatives = event.alternatives
    values = {
        "id": entry.example_id,
        "datasetId": event.dataset_id,
        "type": "nlu",
        "input": event.message_text,
        "intent": event.intent,
        "tags": _json(tags(entry)),
        "createdAt": event.timestamp,
        "eventId": entry.event_id,
        "predictedIntent": event.intent,
        "confidence": event.confidence,
        "reviewReasons": _json(entry.reasons),
        "sender": event.phone_number,
        "channel": event.channel,
        "language": event.language,
        "modelVersion": event.model_version or "",
        "sessionId": event.session_id,
        "messageId": event.message_id,
        "currentStep": event.current_step,
        "alternatives": None if alternatives is None else alternatives_json(alternatives),
        "late": entry.late,
        "file": file,
    }
    return tuple(values[name] for name in _COLUMNS)


def _json(values: Iterable[object]) -> str:
    return json.dumps(list(values))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
