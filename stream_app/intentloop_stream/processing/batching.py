"""Contiguous batches of one partition: closed at a size, at an age, or when the worker stops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from intentloop_schemas import Batch, ClosedBy, Entry, TopicPartition
from intentloop_stream.processing.decode import Rejection
from intentloop_stream.processing.watermark import Watermark

Item = Entry | Rejection


@dataclass(slots=True)
class PartitionBatcher:
    """Cuts the records of one assigned partition into batches that tile its positions.

    A batch holds up to `size` records, rejected ones included. Its age counts from the Kafka
    timestamp of its first record, so the same log is cut alike whenever it is read; only a
    partition that falls silent needs the wall clock, through `due`.

    `position` is where the next chunk begins, `first_position` where the open batch began.
    `watermark` belongs to `position`; every closed batch carries the one of its own end, from
    which another worker goes on.
    """

    partition: TopicPartition
    size: int
    max_age_ms: int
    position: int
    highest_timestamp: int = 0
    first_position: int = field(init=False)
    opened_at: int = field(init=False, default=0)
    watermark: Watermark = field(init=False)
    _open: list[Item] = field(init=False, default_factory=list)
    _closed: Watermark = field(init=False)

    def __post_init__(self) -> None:
        self.first_position = self.position
        self.watermark = Watermark(self.highest_timestamp)
        self._closed = Watermark(self.highest_timestamp)

    @property
    def open_records(self) -> int:
        """How many records wait in the open batch."""
        return len(self._open)

    def add(self, items: Sequence[Item], next_position: int, now: int) -> list[Batch]:
        """Take the records up to `next_position`; return what they close, as few ranges as can be.

        `now`, epoch ms, bounds the age of a batch whose first record comes from a clock that runs
        ahead.
        """
        closed: list[Batch] = []
        pending = self._open + list(items)
        times = [item.record.timestamp for item in pending]
        ages = self._ages(times, now)
        start, count = 0, len(pending)
        while start < count:
            if start or not self._open:
                self.opened_at = min(times[start], now)
            end, reason = self._cut(times, start, ages=ages)
            if reason is None:
                break
            position = next_position if end == count else pending[end - 1].record.offset + 1
            _append(closed, self._close(pending[start:end], position, reason))
            start = end
        self._open = pending[start:]
        self.position = next_position
        return closed

    def due(self, now: int, margin_ms: int = 0) -> Batch | None:
        """Close the open batch when it reaches its age within `margin_ms` of `now`.

        Also when the clock was set back: nobody knows how old the batch is then.
        """
        return self._close_open(ClosedBy.TIME) if self._is_due(now, margin_ms) else None

    def due_position(self, now: int) -> int:
        """Return the end of what is closed, or due by `now`."""
        return self.position if self._is_due(now, 0) else self.first_position

    def close(self) -> Batch | None:
        """Close the open batch because the worker stops."""
        return self._close_open(ClosedBy.SHUTDOWN) if self._open else None

    def _is_due(self, now: int, margin_ms: int) -> bool:
        is_young = self.opened_at <= now < self.opened_at + self.max_age_ms - margin_ms
        return bool(self._open) and not is_young

    def _ages(self, times: list[int], now: int) -> bool:
        """Tell whether any batch of records with these Kafka timestamps can reach its age."""
        earliest = min([now, *times, *([self.opened_at] if self._open else [])])
        return max(times, default=0) >= earliest + self.max_age_ms

    def _cut(self, times: list[int], start: int, *, ages: bool) -> tuple[int, ClosedBy | None]:
        """Find the end of the batch that begins at `start`; no reason when it stays open.

        Where none can reach its age, find the end of all that are full.
        """
        full = (len(times) - start) // self.size
        if full and not ages:
            return start + full * self.size, ClosedBy.SIZE
        limit = self.opened_at + self.max_age_ms
        end = min(start + self.size, len(times))
        for index in range(start + 1, end):
            if times[index] >= limit:
                return index, ClosedBy.TIME
        return end, ClosedBy.SIZE if end - start == self.size else None

    def _close_open(self, reason: ClosedBy) -> Batch:
        items, self._open = self._open, []
        return self._close(items, self.position, reason)

    def _close(self, items: list[Item], next_position: int, reason: ClosedBy) -> Batch:
        entries = [item for item in items if type(item) is Entry]
        rejected = len(items) - len(entries)
        self._closed.pass_all((entry.event.timestamp, entry.record.timestamp) for entry in entries)
        batch = Batch(
            partition=self.partition,
            first_position=self.first_position,
            next_position=next_position,
            highest_timestamp=self._closed.highest,
            opened_at=self.opened_at,
            closed_by=reason,
            entries=entries,
            rejected=rejected,
            batches=max(1, len(items) // self.size),
            suppressed=_suppressed(items) if rejected else 0,
        )
        self.first_position = next_position
        return batch


def _suppressed(items: list[Item]) -> int:
    return sum(1 for item in items if isinstance(item, Rejection) and item.suppressed)


def _append(closed: list[Batch], batch: Batch) -> None:
    """Add a batch, as part of the last range when both were closed for the same reason."""
    last = closed[-1] if closed else None
    if last is None or last.closed_by is not batch.closed_by:
        closed.append(batch)
        return
    last.next_position = batch.next_position
    last.highest_timestamp = batch.highest_timestamp
    last.entries += batch.entries
    last.rejected += batch.rejected
    last.suppressed += batch.suppressed
    last.batches += batch.batches
