"""The sink where there is no Postgres: batches go into the spool's files, and stay there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from intentloop_schemas import Batch, Entry, TopicPartition
from intentloop_sink.catalogue.files import FileReader
from intentloop_sink.catalogue.index import FileIndex
from intentloop_sink.cuts import fence
from intentloop_sink.encoding import LineEncoder
from intentloop_sink.outcome import Outcome, OutOfTurn, Refused, Stored, Unavailable
from intentloop_sink.postgres import OffsetLine
from intentloop_sink.prepared import Prepared, encode, prepare, records, settle, stored
from intentloop_sink.spool import Extent, Spool, SpoolError
from intentloop_sink.suppression import Suppression


class FileSink:
    """Stores groups of batches in files. `intentloop replay` brings them into Postgres later.

    Safe to call from several threads; calls that look into the files take turns.

    Args:
        spool: this writer's files.
        catalogue: knows what lies in the files of all writers.
        window_seconds: length of the tumbling windows.
    """

    def __init__(self, spool: Spool, catalogue: FileReader, *, window_seconds: int) -> None:
        self._spool = spool
        self._catalogue = catalogue
        self._window_seconds = window_seconds
        self._encoder = LineEncoder()
        self._suppression = Suppression()

    def encode(self, entries: Iterable[Entry]) -> dict[str, str]:
        """Return the lines that `prepare` begins with, for entries that it will get later."""
        return encode(entries, self._encoder)

    def prepare(self, batches: Sequence[Batch], lines: Mapping[str, str] | None = None) -> Prepared:
        """Do everything that needs no file. Never blocks.

        `lines` is what `encode` made of the entries, if it did.
        """
        return prepare(batches, self._window_seconds, self._encoder, lines)

    def store(self, prepared: Prepared) -> Outcome:
        """Store a prepared group, all of it or nothing. Blocks.

        Storing the same group again changes nothing: its positions have passed.
        """
        try:
            with self._catalogue.turn() as index:
                return self._store(prepared, index)
        except (SpoolError, OSError) as error:
            return Unavailable(str(error))

    def lines_from(
        self, earliest: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, OffsetLine] | Unavailable:
        """Return where partitions stand, given the `earliest` offset that their log has. Blocks.

        What is missing from the files, and still in the log, is next. Learns, too, who was erased:
        see `has_erased`.
        """
        try:
            with self._catalogue.turn() as index:
                self._suppression.list = index.suppressed()
                return {p: _line(index.extents.get(p), at) for p, at in earliest.items()}
        except OSError as error:
            return Unavailable(f"cannot read {self._spool.folder.parent}: {error}")

    def has_erased(self, senders: Iterable[str], at: int) -> bool:
        """Tell whether one of these senders was erased at a time, epoch ms, or later. Never blocks.

        As far as is known from the last group that was stored, or the last look at `lines_from`.
        """
        return any(self._suppression.list.has_erased(sender, at) for sender in senders)

    def record_loss(self, partition: TopicPartition, next_position: int) -> None:
        """Do nothing: a loss is a gap between what the files have, until Postgres records it."""

    def close(self) -> None:
        """Nothing is held: spool and catalogue belong to who made them."""

    def _store(self, prepared: Prepared, index: FileIndex) -> Stored | Refused | OutOfTurn:
        positions = _positions(index, prepared.batches)
        kept = fence(prepared.batches, positions)
        if isinstance(kept, OutOfTurn):
            return kept
        self._suppression.list = index.suppressed()
        wanted = replace(prepared, batches=self._suppression.apply(kept))
        settled = settle(wanted, index.contents(prepared.lines.keys()))
        if settled.conflicts:
            return Refused(tuple(settled.conflicts))
        self._spool.append(settled.batches)
        ends = {batch.partition: batch.next_position for batch in kept}
        return stored(settled, {**positions, **ends}, records(prepared.batches) - records(kept))


def _positions(index: FileIndex, batches: Sequence[Batch]) -> dict[TopicPartition, int]:
    """Return for the partitions of batches, given in order, where files of whomever stand."""
    positions: dict[TopicPartition, int] = {}
    for batch in batches:
        if batch.partition not in positions:
            extent = index.extents.get(batch.partition)
            first = batch.first_position
            positions[batch.partition] = extent.reach(first) if extent else first
    return positions


def _line(extent: Extent | None, earliest: int) -> OffsetLine:
    """Return where to read on in a log that begins at `earliest`."""
    begun = [run for run in extent.runs if run.first_position <= earliest] if extent else []
    if not begun:
        return OffsetLine(earliest, 0)
    return OffsetLine(begun[-1].next_position, begun[-1].highest_timestamp)
