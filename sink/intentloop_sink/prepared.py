"""From batches to what one transaction writes. Pure: nothing here waits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from intentloop_schemas import (
    Batch,
    ClosedBy,
    DeadLetterReason,
    Entry,
    Source,
    TopicPartition,
    WindowKey,
    WindowStatistics,
    fold_windows,
)
from intentloop_schemas.statistics import HOUR_SECONDS, roll_up
from intentloop_sink.content import Content
from intentloop_sink.encoding import LineEncoder
from intentloop_sink.outcome import Refusal, Stored

Windows = dict[WindowKey, WindowStatistics]


@dataclass(slots=True)
class Range:
    """A row of `conversation_batch`: adjacent batches that were closed for the same reason."""

    partition: TopicPartition
    first_position: int
    next_position: int
    closed_by: ClosedBy
    source: Source
    opened_at: int
    batches: int = 0
    stored: int = 0
    duplicates: int = 0
    rejected: int = 0
    flagged: int = 0
    suppressed: int = 0

    def takes(self, batch: Batch) -> bool:
        """Tell whether a batch can extend this row."""
        return (
            self.partition == batch.partition
            and self.next_position == batch.first_position
            and self.closed_by is batch.closed_by
            and self.source is batch.source
        )


@dataclass(slots=True)
class Prepared:
    """Everything that one transaction writes, apart from what the database alone can know."""

    batches: Sequence[Batch]
    """In order of topic id, partition and position."""
    lines: Mapping[str, str]
    """The COPY line of every event by example id."""
    window_seconds: int
    fresh: dict[str, Entry] = field(default_factory=dict)
    """Entries to store by example id, the first of each in log order."""
    ranges: list[Range] = field(default_factory=list)
    conflicts: list[Refusal] = field(default_factory=list)
    """Entries that share an id with another, but not its content."""
    payload: bytes = b""
    """Text for COPY in id order."""
    windows: Windows = field(default_factory=dict)
    hours: Windows = field(default_factory=dict)

    def text(self, ids: Iterable[str]) -> bytes:
        """Return the COPY text of some examples."""
        return "".join(sorted(map(self.lines.__getitem__, ids))).encode()


def prepare(
    batches: Sequence[Batch],
    window_seconds: int,
    encoder: LineEncoder,
    lines: Mapping[str, str] | None = None,
) -> Prepared:
    """Encode and add up a group of batches, as if the database held none of their events.

    `lines` are those that were encoded ahead, of the first entry of each id.
    """
    ordered = sorted(batches, key=_place)
    if lines is None:
        lines = encode(chain.from_iterable(batch.entries for batch in ordered), encoder)
    return settle(Prepared(ordered, lines, window_seconds), {})


def encode(entries: Iterable[Entry], encoder: LineEncoder) -> dict[str, str]:
    """Return the COPY line of the first entry of each example id."""
    line = encoder.line
    lines: dict[str, str] = {}
    for entry in entries:
        if entry.example_id not in lines:
            lines[entry.example_id] = line(entry)
    return lines


def settle(prepared: Prepared, known: Mapping[str, Content]) -> Prepared:
    """Work out again what to write, given the contents that the database holds already."""
    settled = Prepared(prepared.batches, prepared.lines, prepared.window_seconds)
    for batch in settled.batches:
        _settle_batch(batch, known, settled)
    settled.payload = settled.text(settled.fresh)
    settled.windows = fold_windows(settled.fresh.values(), settled.window_seconds)
    settled.hours = _hours(settled)
    return settled


def stored(settled: Prepared, next_positions: Mapping[TopicPartition, int], fenced: int) -> Stored:
    """Return what a group came to that is stored as settled."""
    return Stored(
        next_positions,
        stored=sum(row.stored for row in settled.ranges),
        duplicates=sum(row.duplicates for row in settled.ranges),
        rejected=sum(row.rejected for row in settled.ranges),
        suppressed=sum(row.suppressed for row in settled.ranges),
        flagged=sum(row.flagged for row in settled.ranges),
        batches=sum(row.batches for row in settled.ranges),
        fenced=fenced,
    )


def records(batches: Iterable[Batch]) -> int:
    """Return how many records batches account for."""
    return sum(len(batch.entries) + batch.rejected for batch in batches)


def _settle_batch(batch: Batch, known: Mapping[str, Content], settled: Prepared) -> None:
    conflicts = len(settled.conflicts)
    fresh = _fresh(batch, known, settled)
    settled.fresh |= fresh
    row = _range_for(batch, settled.ranges)
    row.next_position = batch.next_position
    row.opened_at = min(row.opened_at, batch.opened_at)
    row.batches += batch.batches
    row.rejected += batch.rejected
    row.suppressed += batch.suppressed
    row.stored += len(fresh)
    row.flagged += sum(1 for entry in fresh.values() if entry.reasons)
    row.duplicates += len(batch.entries) - len(fresh) - (len(settled.conflicts) - conflicts)


def _fresh(batch: Batch, known: Mapping[str, Content], settled: Prepared) -> dict[str, Entry]:
    """Return what is new in a batch, by example id; the rest is compared with what came first."""
    ids = [entry.example_id for entry in batch.entries]
    fresh = dict(zip(ids, batch.entries, strict=True))
    taken = (settled.fresh.keys(), known.keys())
    if len(fresh) == len(ids) and all(map(fresh.keys().isdisjoint, taken)):
        return fresh
    fresh.clear()
    for example_id, entry in zip(ids, batch.entries, strict=True):
        first = settled.fresh.get(example_id) or fresh.get(example_id)
        if first or example_id in known:
            content = Content.of(first) if first else known[example_id]
            _compare(entry, content, batch.partition, settled)
        else:
            fresh[example_id] = entry
    return fresh


def _compare(entry: Entry, first: Content, partition: TopicPartition, settled: Prepared) -> None:
    """Find out whether an entry repeats the one of its id, or contradicts it."""
    newcomer = Content.of(entry)
    if newcomer == first:
        return
    fields = ", ".join(newcomer.differences(first))
    error = (
        f"event {entry.event_id!r} is stored already as {entry.example_id} with another {fields}; "
        "give each message an eventId of its own"
    )
    settled.conflicts.append(
        Refusal(partition, entry, DeadLetterReason.CONFLICTING_DUPLICATE, error)
    )


def _range_for(batch: Batch, ranges: list[Range]) -> Range:
    if not ranges or not ranges[-1].takes(batch):
        ranges.append(
            Range(
                batch.partition,
                batch.first_position,
                batch.next_position,
                batch.closed_by,
                batch.source,
                batch.opened_at,
            )
        )
    return ranges[-1]


def _hours(settled: Prepared) -> Windows:
    if HOUR_SECONDS % settled.window_seconds == 0:
        return roll_up(settled.windows, HOUR_SECONDS)
    return fold_windows(settled.fresh.values(), HOUR_SECONDS)


def _place(batch: Batch) -> tuple[str, int, int]:
    return batch.partition.topic_id, batch.partition.partition, batch.first_position
