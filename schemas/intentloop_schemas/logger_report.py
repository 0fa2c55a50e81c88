"""A logger's report on itself: what became of the messages it was given, and what `log()` cost.

Every logger sends one each minute and when it is closed. It says nothing of any person, and
nothing of the machine.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from intentloop_schemas.event import Contract, EventId, Label, TimestampMs

LoggerId = EventId
Count = Annotated[int, Field(ge=0, lt=2**63)]
Microseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class LoggerReport(Contract):
    """Counts since the start of one logger in one process.

    What is neither delivered nor invalid nor failed of accepted and recovered still waits.
    """

    logger_id: LoggerId
    """Names the logger from its start to its end; random."""
    started_at: TimestampMs
    """When it started, epoch milliseconds."""
    reported_at: TimestampMs
    """When the counts were taken, epoch milliseconds; the latest report holds."""
    accepted: Count
    """Taken by `log()`."""
    recovered: Count
    """Found in the journals of processes that ended before they had sent them."""
    delivered: Count
    """Acknowledged by Kafka or the admin backend."""
    invalid: Count
    """Not an event by the contract's rules."""
    failed: Count
    """Refused by the destination, damaged on disk, or given up at the end."""
    dropped: Count
    """Refused by `log()`: queue or journal full, or the logger closed."""
    log_p50_us: Microseconds | None = None
    """Median time that a call of `log()` took, in microseconds; absent before the first."""
    log_p99_us: Microseconds | None = None
    """99th percentile of the same."""
    version: Label
    """Of intentloop."""
    transport: Label
    """kafka or http."""

    def to_json(self) -> bytes:
        """Return the report as compact UTF-8 JSON; absent fields stay out."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()
