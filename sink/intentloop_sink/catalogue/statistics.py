"""How sure the model is: by intent, by window, and altogether."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import sqrt
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    MetaData,
    Select,
    Table,
    distinct,
    func,
    literal_column,
    select,
    text,
    type_coerce,
)

from intentloop_schemas.statistics import HISTOGRAM_BINS
from intentloop_sink.catalogue.filters import StatisticsFilter
from intentloop_sink.tables import (
    Instant,
    conversation_batch,
    intent_hourly_stats,
    intent_window_stats,
)

_HOUR = timedelta(hours=1)
_ORIGIN = datetime(1970, 1, 1, tzinfo=UTC)

_watermark = Table("conversation_watermark", MetaData(), Column("watermark", Instant))

_SIZE_OF_A_ROW = text("""
SELECT pg_total_relation_size('"Example"')::float8
       / greatest(1, (SELECT coalesce(sum(examples), 0) FROM dataset_counter))
""")


class Confidence(NamedTuple):
    """Sums over some events; shares and confidences are from 0 to 1."""

    n: int
    flagged: int
    low_confidence: int
    fallback: int
    late: int
    sum_micros: int
    sumsq_micros: int
    min_micros: int
    max_micros: int
    histogram: list[int]
    """Counts in 20 bins of width 0.05."""

    @property
    def mean(self) -> float:
        """Mean confidence."""
        return self.sum_micros / (1e6 * self.n)

    @property
    def deviation(self) -> float:
        """Standard deviation of the confidence, of all events, not of a sample."""
        spread = self.sumsq_micros * self.n - self.sum_micros**2
        return sqrt(max(0, spread)) / (1e6 * self.n)

    def quantile(self, share: float) -> float:
        """Return the confidence below which a share of the events lies, as exact as the bins."""
        low, high = self.min_micros / 1e6, self.max_micros / 1e6
        wanted, seen = share * self.n, 0
        for number, inside in enumerate(self.histogram):
            if inside and seen + inside >= wanted:
                found = (number + (wanted - seen) / inside) / HISTOGRAM_BINS
                return min(max(found, low), high)
            seen += inside
        return high

    def share(self, count: int) -> float:
        """Return how large a part of the events `count` is."""
        return count / self.n


@dataclass(frozen=True, slots=True)
class IntentStatistics:
    """One intent over a range of time."""

    intent: str
    confidence: Confidence


@dataclass(frozen=True, slots=True)
class Window:
    """All chosen events of one window; `is_final` once the watermark has passed its end."""

    start: datetime
    seconds: int
    intents: int
    confidence: Confidence
    is_final: bool

    @property
    def end(self) -> datetime:
        """Where the next one begins."""
        return self.start + timedelta(seconds=self.seconds)


@dataclass(frozen=True, slots=True)
class Period:
    """All chosen events of a stretch of time, which may hold many windows."""

    start: datetime
    confidence: Confidence


class Choices(NamedTuple):
    """What statistics can be narrowed to."""

    channels: list[str]
    model_versions: list[str]


@dataclass(frozen=True, slots=True)
class Batching:
    """How many records came, in how many batches."""

    records: int
    batches: int


@dataclass(frozen=True)
class Statistics:
    """Questions about confidence. They read sums, never an example."""

    connection: Connection

    def intents(self, dataset_id: str, wanted: StatisticsFilter) -> list[IntentStatistics]:
        """Return the intents that the model saw, the most frequent first, by hours."""
        table = intent_hourly_stats
        sums = self._sums(table)
        found = (
            select(table.c.intent, *sums)
            .where(table.c.dataset_id == dataset_id, *wanted.conditions(table))
            .group_by(table.c.intent)
            .order_by(sums[0].desc(), table.c.intent)
        )
        return [IntentStatistics(row[0], _confidence(row[1:])) for row in self._rows(found)]

    def windows(
        self, dataset_id: str, wanted: StatisticsFilter, *, limit: int, hourly: bool = False
    ) -> list[Window]:
        """Return windows in which something happened, the newest first."""
        table = intent_hourly_stats if hourly else intent_window_stats
        c = table.c
        found = (
            select(c.window_start, c.window_seconds, func.count(distinct(c.intent)))
            .add_columns(*self._sums(table))
            .where(c.dataset_id == dataset_id, *wanted.conditions(table))
            .group_by(c.window_start, c.window_seconds)
            .order_by(c.window_start.desc(), c.window_seconds)
            .limit(limit)
        )
        watermark = self.connection.execute(select(_watermark.c.watermark)).scalar()
        return [_window(row, watermark) for row in self._rows(found)]

    def series(self, dataset_id: str, wanted: StatisticsFilter, width: timedelta) -> list[Period]:
        """Return stretches of one width in which something happened, the oldest first.

        From an hour on the width is whole hours; below it, whole windows.
        """
        table = intent_hourly_stats if width >= _HOUR else intent_window_stats
        start = self._start_of(table, width).label("start")
        found = (
            select(start, *self._sums(table))
            .where(table.c.dataset_id == dataset_id, *wanted.conditions(table))
            .group_by(start)
            .order_by(start)
        )
        return [Period(row[0], _confidence(row[1:])) for row in self._rows(found)]

    def choices(self, dataset_id: str, since: datetime, until: datetime) -> Choices:
        """Return the channels and model versions of a range of time."""
        c = intent_hourly_stats.c
        pairs = (
            select(c.channel, c.model_version)
            .where(c.dataset_id == dataset_id, c.window_start >= since, c.window_start < until)
            .distinct()
        )
        rows = self._rows(pairs)
        return Choices(sorted({row[0] for row in rows}), sorted({row[1] for row in rows}))

    def total(self, dataset_id: str, since: datetime) -> Confidence | None:
        """Return the sums of a dataset since a time, by hours; None when nothing happened."""
        table = intent_hourly_stats
        conditions = (table.c.dataset_id == dataset_id, table.c.window_start >= since)
        (row,) = self._rows(select(*self._sums(table)).where(*conditions))
        return _confidence(row) if row[0] else None

    def batching(self, since: datetime) -> Batching:
        """Return how many records came since a time, from all sources, and in how many batches."""
        c = conversation_batch.c
        records = func.coalesce(func.sum(c.stored + c.duplicates + c.rejected), 0)
        batches = func.coalesce(func.sum(c.batches), 0)
        (row,) = self._rows(select(records, batches).where(c.committed_at >= since))
        return Batching(int(row[0]), int(row[1]))

    def bytes_per_example(self) -> float | None:
        """Return what an example takes on disk, indexes included; None where nobody knows."""
        if self.connection.dialect.name != "postgresql":
            return None
        return float(self.connection.execute(_SIZE_OF_A_ROW).scalar_one())

    def _rows(self, wanted: Select[Any]) -> Sequence[Any]:
        return self.connection.execute(wanted).all()

    def _sums(self, table: Table) -> list[ColumnElement[Any]]:
        c = table.c
        sums = [
            c.n,
            c.flagged_n,
            c.low_confidence_n,
            c.fallback_n,
            c.late_n,
            c.confidence_sum_micros,
            c.confidence_sumsq_micros,
        ]
        bounds = [func.min(c.confidence_min_micros), func.max(c.confidence_max_micros)]
        return [*map(func.sum, sums), *bounds, *map(func.sum, self._bins(table))]

    def _start_of(self, table: Table, width: timedelta) -> ColumnElement[Any]:
        if self.connection.dialect.name == "postgresql":
            return func.date_bin(width, table.c.window_start, _ORIGIN, type_=Instant())
        milliseconds = width // timedelta(milliseconds=1)
        stored = type_coerce(table.c.window_start, BigInteger)
        return type_coerce(stored - stored % milliseconds, Instant())

    def _bins(self, table: Table) -> list[ColumnElement[Any]]:
        if self.connection.dialect.name == "postgresql":
            # Arrays begin at 1 there.
            return [table.c.confidence_histogram[i] for i in range(1, HISTOGRAM_BINS + 1)]
        return [literal_column(f"histogram_{i}") for i in range(HISTOGRAM_BINS)]


_SUMS = 9


def _confidence(sums: Sequence[Any]) -> Confidence:
    whole: list[Any] = [int(number) for number in sums]
    return Confidence._make([*whole[:_SUMS], whole[_SUMS:]])


def _window(row: Sequence[Any], watermark: datetime | None) -> Window:
    start, seconds, intents = row[:3]
    is_final = watermark is not None and start + timedelta(seconds=seconds) <= watermark
    return Window(start, seconds, intents, _confidence(row[3:]), is_final)
