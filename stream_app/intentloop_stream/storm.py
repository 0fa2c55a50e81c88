"""Storms: when most records are bad, the fault is rarely theirs.

A sender that changed its format, or a broken constraint in the database, would empty a topic into
the dead letters. A storm raises an alarm and, where that is wanted, stops the worker first.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import NamedTuple

import structlog

from intentloop_schemas import DeadLetterReason
from intentloop_stream.ending import EndWorkerError

log = structlog.get_logger(__name__)

_ADVICE = {
    DeadLetterReason.CONFLICTING_DUPLICATE: "see with `intentloop dlq list` which sender gives "
    "different events the same eventId and timestamp",
    DeadLetterReason.REFUSED_BY_DATABASE: "see with `intentloop dlq list` what the database says, "
    "mend it, then `intentloop dlq retry --reason refused_by_database`",
}
_SENDERS_FAULT = (
    "see with `intentloop dlq list` and `intentloop dlq show` what the senders do wrong, and mend "
    "them"
)
_ALSO = "; INTENTLOOP_STORM_STOP=true stops the worker in a storm"


class Storm(NamedTuple):
    """What a window holds while too many of its records are bad."""

    bad: int
    records: int
    counts: dict[DeadLetterReason, int]
    """By reason, the commonest first."""

    def __str__(self) -> str:
        reasons = ", ".join(f"{reason} {count}" for reason, count in self.counts.items())
        return f"{self.bad} of the last {self.records} records are bad: {reasons}"


class StormError(EndWorkerError):
    """The worker must stop before more of the topic becomes dead letters."""


class StormDetector:
    """Watches the share of bad records in a sliding window. No clock, no I/O.

    A storm begins when more than `share` of the last `records` records are bad; records that were
    not seen yet count as good, so that a few bad ones in a quiet topic are no storm. It is over
    when at most half of that share is bad. With a share of 1 there is never a storm.
    """

    def __init__(self, share: float, records: int) -> None:
        self._limit = share * records
        self._records = records
        self._seen = 0
        # The bad records of the window by their number, oldest first.
        self._bad: deque[tuple[int, DeadLetterReason]] = deque()
        self.in_storm = False

    def good(self, count: int = 1) -> None:
        """Add good records."""
        self._add(count)

    def bad(self, reason: DeadLetterReason) -> Storm | None:
        """Add a bad record; return the storm that begins with it."""
        was_in_storm = self.in_storm
        self._bad.append((self._seen, reason))
        self._add(1)
        return self.window() if self.in_storm and not was_in_storm else None

    def window(self) -> Storm:
        """Return what the window holds."""
        counts = Counter(reason for _, reason in self._bad)
        return Storm(len(self._bad), self._records, dict(counts.most_common()))

    def _add(self, count: int) -> None:
        self._seen += count
        oldest = self._seen - self._records
        while self._bad and self._bad[0][0] < oldest:
            self._bad.popleft()
        self.in_storm = len(self._bad) > (self._limit / 2 if self.in_storm else self._limit)


class StormWatch:
    """Alarms a person once a storm, before its records become dead letters.

    What the contract rejects and what the database refuses are watched apart: refusals come many
    at a time, long after their records were decoded.

    Args:
        share: see `StormDetector`.
        records: see `StormDetector`.
        stop: raise StormError in a storm.
    """

    def __init__(self, share: float, records: int, *, stop: bool) -> None:
        self._decoded = StormDetector(share, records)
        self._stored = StormDetector(share, records)
        self._stop = stop
        self._counted = 0
        """Events already counted as good, because others of their transaction were refused."""

    def decoded(self, reasons: Sequence[DeadLetterReason | None]) -> None:
        """Count records in the order of the log, None for a valid one. Raises StormError."""
        if not any(reasons):
            self._count(self._decoded, None, len(reasons))
            return
        for reason in reasons:
            self._count(self._decoded, reason)
            self._hold(self._decoded)

    def stored(self, count: int) -> None:
        """Count events that the database took."""
        new = max(count - self._counted, 0)
        self._counted -= count - new
        self._count(self._stored, None, new)

    def refused(self, reasons: Sequence[DeadLetterReason], *, of: int) -> None:
        """Count the events of a transaction that the database refused. Raises StormError.

        Where they stood in it is not known: they count as spread evenly among the `of` events.
        """
        for number, reason in enumerate(reasons):
            between = of * (number + 1) // len(reasons) - of * number // len(reasons) - 1
            self._count(self._stored, None, between)
            self._count(self._stored, reason)
            self._hold(self._stored)
        self._counted += of - len(reasons)

    def _count(
        self, detector: StormDetector, reason: DeadLetterReason | None, count: int = 1
    ) -> None:
        was_in_storm = detector.in_storm
        if reason is None:
            detector.good(count)
        elif storm := detector.bad(reason):
            self._alarm(storm)
        if was_in_storm and not detector.in_storm:
            log.info("dead_letter_storm_over")

    def _alarm(self, storm: Storm) -> None:
        commonest = next(iter(storm.counts))
        log.critical(
            "dead_letter_storm",
            bad=storm.bad,
            records=storm.records,
            counts=storm.counts,
            commonest=commonest,
            advice=_ADVICE.get(commonest, _SENDERS_FAULT) + _ALSO,
        )

    def _hold(self, detector: StormDetector) -> None:
        if self._stop and detector.in_storm:
            raise StormError(
                f"a storm of dead letters: {detector.window()}. The worker stops, as "
                "INTENTLOOP_STORM_STOP says; what is neither stored nor a dead letter stays in "
                "Kafka. Mend the cause and start the worker again, or set "
                "INTENTLOOP_STORM_STOP=false to let the bad records become dead letters"
            )
