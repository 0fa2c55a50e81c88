"""What a logger tells about itself, by the way that its events take."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import uuid4

from intentloop_producer.intake import Intake
from intentloop_producer.latency import Latency
from intentloop_producer.report import Report
from intentloop_producer.transport import Failure, Transport
from intentloop_schemas import LoggerReport
from intentloop_schemas.version import VERSION

LAST_SECONDS = 0.5
"""How long the last report may hold up the end."""


class Vitals:
    """Reports the counts and what `log()` costs, every `seconds` and at the end; never with 0.

    While a report is on its way no other follows. Belongs to the delivery thread. `name` is that
    of the transport; `clock` is monotonic, `now` epoch, both in seconds.
    """

    def __init__(
        self,
        intake: Intake,
        transport: Transport,
        name: str,
        report: Report,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._intake = intake
        self._transport = transport
        self._name = name
        self._report = report
        self._seconds = seconds
        self._clock = clock
        self._now = now
        self._id = str(uuid4())
        self._started_at = self._epoch_ms()
        self._due_at = clock() + seconds
        self._latency = Latency()
        self._is_on_its_way = False

    def tick(self) -> None:
        """Report when it is time. Does not wait."""
        self._collect()
        if self._clock() >= self._due_at and self._may_send:
            self._send()

    def finish(self, seconds: float) -> None:
        """Report a last time, and wait up to `seconds` for it to arrive."""
        self._collect()
        if seconds and self._may_send:
            self._send()
            self._transport.flush(min(seconds, LAST_SECONDS))

    @property
    def _may_send(self) -> bool:
        return bool(self._seconds) and not self._is_on_its_way

    def _collect(self) -> None:
        while (cost := self._intake.take_cost()) is not None:
            self._latency.add(cost)

    def _send(self) -> None:
        self._due_at = self._clock() + self._seconds
        self._is_on_its_way = True
        self._transport.report(self._id.encode(), self._reading().to_json(), self._settle)

    def _reading(self) -> LoggerReport:
        counts = self._intake.tally.snapshot()
        return LoggerReport(
            loggerId=self._id,
            startedAt=self._started_at,
            reportedAt=self._epoch_ms(),
            accepted=counts.accepted,
            recovered=counts.recovered,
            delivered=counts.delivered,
            invalid=counts.invalid,
            failed=counts.failed,
            dropped=counts.dropped,
            logP50Us=self._latency.quantile_us(0.5),
            logP99Us=self._latency.quantile_us(0.99),
            version=VERSION,
            transport=self._name,
        )

    def _settle(self, failure: Failure | None) -> None:
        self._is_on_its_way = False
        if failure is not None:
            self._report.unreported(failure.why)

    def _epoch_ms(self) -> int:
        return int(self._now() * 1_000)
