"""The sink where there is no Postgres: batches go into the spool's files, and stay there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from intentloop_schemas import Batch
from intentloop_sink.catalogue.files import FileCatalogue
from intentloop_sink.encoding import LineEncoder
from intentloop_sink.outcome import Outcome, Refused, Stored, Unavailable
from intentloop_sink.prepared import Prepared, prepare, settle
from intentloop_sink.spool import Spool, SpoolError
from intentloop_sink.suppression import Suppression


class FileSink:
    """Stores groups of batches in files. `intentloop replay` brings them into Postgres later.

    Args:
        spool: this writer's files.
        catalogue: knows what lies in the files of all writers.
        window_seconds: length of the tumbling windows.
    """

    def __init__(self, spool: Spool, catalogue: FileCatalogue, *, window_seconds: int) -> None:
        self._spool = spool
        self._catalogue = catalogue
        self._window_seconds = window_seconds
        self._encoder = LineEncoder()
        self._suppression = Suppression()

    def prepare(self, batches: Sequence[Batch]) -> Prepared:
        """Do everything that needs no file. Never blocks."""
        return prepare(batches, self._window_seconds, self._encoder)

    def store(self, prepared: Prepared) -> Outcome:
        """Store a prepared group, all of it or nothing. Blocks."""
        with self._catalogue.turn() as index:
            self._suppression.list = index.suppressed()
            kept = self._suppression.apply(prepared.batches)
            settled = settle(replace(prepared, batches=kept), index.contents(prepared.lines.keys()))
            if settled.conflicts:
                return Refused(tuple(settled.conflicts))
            try:
                self._spool.append(settled.batches)
            except SpoolError as error:
                return Unavailable(str(error))
        return Stored(
            {batch.partition: batch.next_position for batch in prepared.batches},
            stored=sum(row.stored for row in settled.ranges),
            duplicates=sum(row.duplicates for row in settled.ranges),
            rejected=sum(row.rejected for row in settled.ranges),
            suppressed=sum(row.suppressed for row in settled.ranges),
        )

    def close(self) -> None:
        """Nothing is held: spool and catalogue belong to who made them."""
