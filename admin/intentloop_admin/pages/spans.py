"""The part of a range of time that fits into a chart, column by column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from intentloop_admin.pages.forms import Range

MAX_COLUMNS = 240
_MANY_COLUMNS = 150
_FEW_COLUMNS = 12
_EPOCH = datetime.fromtimestamp(0, UTC)

T = TypeVar("T")


class Width(StrEnum):
    """How much time a column stands for."""

    WINDOW = "window"
    FIVE_MINUTES = "5 min"
    HOUR = "hour"
    DAY = "day"

    def length(self, window: timedelta) -> timedelta:
        """Return the time; `window` is that of a window."""
        return {Width.WINDOW: window, Width.FIVE_MINUTES: timedelta(minutes=5),
                Width.HOUR: timedelta(hours=1), Width.DAY: timedelta(days=1)}[self]  # fmt: skip

    @classmethod
    def fit_for(cls, length: timedelta, window: timedelta) -> Width:
        """Return the finest one that gives a stretch of time no more columns than look well."""
        fit = (width for width in cls if length / width.length(window) <= _MANY_COLUMNS)
        return next(fit, cls.DAY)


class Drawn(Range):
    """A range of time, and how fine it is drawn."""

    columns: Width = Width.HOUR


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a range that fits into a chart, and the time of its columns."""

    since: datetime
    until: datetime
    width: timedelta

    @classmethod
    def of(cls, wanted: Range, columns: Width, window: timedelta, now: datetime) -> Span:
        """Return the end of a range, in up to `MAX_COLUMNS` columns; `window` is the window's."""
        width = columns.length(window)
        until = min(wanted.end, now)
        # Aligned, so that no column is cut.
        earliest = until - (until - _EPOCH) % width - (MAX_COLUMNS - 1) * width
        return cls(max(wanted.start, earliest), until, width)

    def beginning(self, first: datetime) -> Span:
        """Return the part from a time on, with a few columns at least."""
        enough = self.until - _FEW_COLUMNS * self.width
        return replace(self, since=max(self.since, min(first, enough)))

    @property
    def starts(self) -> list[datetime]:
        """Where each column begins."""
        first = self.since - (self.since - _EPOCH) % self.width
        count = max(1, -((first - self.until) // self.width))
        return [first + i * self.width for i in range(count)]

    def columns(self, known: Mapping[datetime, T]) -> list[tuple[datetime, T | None]]:
        """Return what is known of each column; None where nothing happened."""
        return [(start, known.get(start)) for start in self.starts]

    @property
    def form(self) -> str:
        """How times below the chart are written."""
        if self.width >= timedelta(days=1):
            return "%d %b"
        return "%d %b %H:%M" if self.until - self.since > timedelta(days=1) else "%H:%M:%S"
