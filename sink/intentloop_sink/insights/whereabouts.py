"""Where an event is in the store and in the fallback's files, and when it got there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, text

from intentloop_schemas import Batch, Entry
from intentloop_sink.catalogue.examples import Example, Examples
from intentloop_sink.review.decisions import Decisions, PastDecision
from intentloop_sink.spool.format import decode
from intentloop_sink.spool.segments import pieces
from intentloop_sink.spool.spool import segment_paths

_SLICE = timedelta(days=1)

# No index leads to event ids, it would cost every event: a day at a time is read by time.
_EVENT = text("""
SELECT id FROM "Example"
WHERE "datasetId" = :dataset AND "createdAt" >= :since AND "createdAt" < :until
  AND "eventId" = :event LIMIT 1
""")

_BATCH = text("""
SELECT first_position, next_position, batches, closed_by, source, opened_at, committed_at, writer
FROM conversation_batch
WHERE topic_id = :topic_id AND partition = :partition AND first_position <= :position
  AND next_position > :position
ORDER BY first_position DESC LIMIT 1
""")


class StoredBatch(NamedTuple):
    """The row of `conversation_batch` that accounts for a record."""

    first_position: int
    next_position: int
    batches: int
    closed_by: str
    source: str
    opened_at: datetime
    committed_at: datetime
    writer: str


class Spooled(NamedTuple):
    """An event that waits in a file."""

    file: Path
    batch: Batch
    entry: Entry


@dataclass(frozen=True)
class Whereabouts:
    """Questions about single events."""

    connection: Connection

    def example(
        self, dataset_id: str, event_id: str, since: datetime, until: datetime
    ) -> Example | None:
        """Return the example of an event, the newest days first; None when there is none."""
        while until > since:
            start = max(since, until - _SLICE)
            wanted = {"dataset": dataset_id, "event": event_id, "since": start, "until": until}
            found = self.connection.execute(_EVENT, wanted).scalar()
            if found is not None:
                return Examples(self.connection).one(dataset_id, found)
            until = start
        return None

    def batch(self, topic_id: str, partition: int, position: int) -> StoredBatch | None:
        """Return the batch that a record was stored, or rejected, with."""
        wanted = {"topic_id": topic_id, "partition": partition, "position": position}
        row = self.connection.execute(_BATCH, wanted).first()
        return StoredBatch(*row) if row else None

    def decisions(self, example_id: str) -> list[PastDecision]:
        """Return what reviewers decided of an example, the oldest first."""
        return Decisions(self.connection).of_example(example_id)


def spooled(folder: Path, event_id: str) -> Iterator[Spooled]:
    """Yield where an event waits in the files of any writer; changes nothing."""
    wanted = event_id.encode()
    for writer in sorted(path for path in folder.glob("*") if path.is_dir()):
        for file in segment_paths(writer):
            for piece in pieces(file):
                if piece.text is not None and wanted in piece.text:
                    batch = decode(piece.text)
                    yield from (
                        Spooled(file, batch, entry)
                        for entry in batch.entries
                        if entry.event_id == event_id
                    )
