"""What loggers report: only they can measure how long log() takes and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, NamedTuple

from pydantic import Field, StringConstraints
from sqlalchemy import Connection, func, select

from intentloop_sink.catalogue.edit import Edit, Moment, Words, insert_new
from intentloop_sink.tables import logger_report

LoggerId = Annotated[
    str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._:@-]+$")
]
Count = Annotated[int, Field(ge=0, le=2**62, strict=True)]


class LoggerReport(Words):
    """What one logger counted since its last report."""

    logger_id: LoggerId
    reported_at: Moment
    accepted: Count
    """Calls of log() that it took."""
    delivered: Count
    dropped: Count
    """Calls of log() that it could not take."""
    failed: Count
    """Conversations that were refused, or given up."""
    log_p99_us: Count | None = None
    """99th percentile of the time that log() took, in microseconds."""


class Reported(NamedTuple):
    """Sums over reports."""

    accepted: int
    delivered: int
    dropped: int
    failed: int
    log_p99_us: int | None
    """The highest that was reported."""
    loggers: int


@dataclass(frozen=True)
class Reports:
    """Questions about reports."""

    connection: Connection

    def total(self, since: datetime) -> Reported | None:
        """Return the sums since a time, None when nobody has reported."""
        c = logger_report.c
        counts = map(func.sum, (c.accepted, c.delivered, c.dropped, c.failed))
        others = (func.max(c.log_p99_us), func.count(c.logger_id.distinct()))
        wanted = select(*counts, *others).where(c.reported_at >= since)
        row: Any = self.connection.execute(wanted).one()
        return Reported._make([*map(int, row[:4]), *row[4:]]) if row[5] else None


class AddReports(Edit[int]):
    """Keep reports; one that is there already stays as it is. Return how many were new."""

    reports: list[LoggerReport] = Field(min_length=1, max_length=1_000)

    def run(self, connection: Connection, at: datetime) -> int:  # noqa: ARG002 - every edit has its time
        """Insert the rows."""
        return sum(insert_new(connection, logger_report, r.model_dump()) for r in self.reports)
