"""What became of everything that came, and where each source stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, select, text

from intentloop_sink.queries import Line, Totals
from intentloop_sink.tables import conversation_batch, ingest_loss, ingest_offset

_GAPS = text("SELECT count(*) FROM conversation_batch_gaps")


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether the ranges of all partitions tile them."""

    gaps: int
    """Places where something is missing or there twice."""
    lost: int
    """Positions that the log no longer had when their turn came."""


@dataclass(frozen=True)
class Pipeline:
    """Questions about progress."""

    connection: Connection

    def totals(self) -> Totals:
        """Return the sums over all partitions. Reads a row for each commit that there was."""
        c = conversation_batch.c
        columns = (c.stored, c.duplicates, c.rejected, c.flagged, c.batches)
        sums = select(*(func.coalesce(func.sum(column), 0) for column in columns))
        row: Any = self.connection.execute(sums).one()
        return Totals(*map(int, row))

    def lines(self) -> list[Line]:
        """Return where each partition stands; in files, where the last of its batches ends."""
        wanted = _stored_lines() if self._is_postgres else _lines_in_files()
        rows: Any = self.connection.execute(wanted)
        return [Line(*row) for row in rows]

    def last_commit(self) -> datetime | None:
        """Return when something was stored last."""
        return self.connection.execute(select(func.max(conversation_batch.c.committed_at))).scalar()

    def proof(self) -> Proof | None:
        """Look for gaps; None for files, which are accounted for when they go into a database.

        Reads a row for each commit that there was.
        """
        if not self._is_postgres:
            return None
        sizes = ingest_loss.c.next_position - ingest_loss.c.first_position
        lost = func.coalesce(func.sum(sizes), 0)
        return Proof(
            self.connection.execute(_GAPS).scalar_one(),
            int(self.connection.execute(select(lost)).scalar_one()),
        )

    @property
    def _is_postgres(self) -> bool:
        return self.connection.dialect.name == "postgresql"


def _stored_lines() -> Select[Any]:
    c = ingest_offset.c
    columns = (c.topic, c.topic_id, c.partition, c.next_position, c.updated_at, c.writer)
    return select(*columns).order_by(*columns[:3])


def _lines_in_files() -> Select[Any]:
    """SQLite takes what is not grouped from the row with the maximum."""
    c = conversation_batch.c
    key = (c.topic, c.topic_id, c.partition)
    end = func.max(c.next_position)
    return select(*key, end, c.committed_at, c.writer).group_by(*key).order_by(*key)
