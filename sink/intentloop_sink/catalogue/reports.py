"""What loggers report: only they can measure how long log() takes and what came of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, func, select

from intentloop_schemas import LoggerReport
from intentloop_sink.catalogue.edit import Edit, insert_new
from intentloop_sink.tables import logger_report

_COUNTS = ("accepted", "delivered", "invalid", "failed", "dropped")


class Reported(NamedTuple):
    """What came of the messages that all loggers were given in some time."""

    accepted: int
    delivered: int
    invalid: int
    failed: int
    dropped: int
    log_p99_us: float | None
    """The highest that was reported."""


@dataclass(frozen=True)
class Reports:
    """Questions about reports."""

    connection: Connection

    def total(self, since: datetime) -> Reported | None:
        """Return the sums since a time, None when nobody has reported.

        A logger counts from its start: what it had counted before is taken off.
        """
        c = logger_report.c
        now = self._counts(c.reported_at >= since)
        if not now:
            return None
        before = self._counts(c.reported_at < since, c.logger_id.in_(now))
        sums = [_sum(now.values(), i) - _sum(before.values(), i) for i in range(len(_COUNTS))]
        slowest = select(func.max(c.log_p99_us)).where(c.reported_at >= since)
        return Reported._make([*sums, self.connection.execute(slowest).scalar()])

    def _counts(self, *conditions: ColumnElement[bool]) -> dict[str, tuple[int, ...]]:
        """Return the last counts of each logger: they never go down."""
        c = logger_report.c
        latest = [func.max(c[name]) for name in _COUNTS]
        rows: Any = self.connection.execute(
            select(c.logger_id, *latest).where(*conditions).group_by(c.logger_id)
        )
        return {row[0]: tuple(row[1:]) for row in rows}


class AddReport(Edit[bool]):
    """Keep a report; tell whether it is new."""

    report: LoggerReport

    def run(self, connection: Connection, at: datetime) -> bool:  # noqa: ARG002 - every edit has its time
        """Insert the row."""
        row = self.report.model_dump()
        for name in ("started_at", "reported_at"):
            row[name] = datetime.fromtimestamp(row[name] / 1000, UTC)
        return insert_new(connection, logger_report, row)


def _sum(counts: Iterable[tuple[int, ...]], place: int) -> int:
    return sum(count[place] for count in counts)
