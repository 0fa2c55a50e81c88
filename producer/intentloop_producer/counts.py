"""What became of the conversations that a logger was given."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counts:
    """A snapshot: accepted + recovered = delivered + invalid + failed + queued."""

    accepted: int
    """Taken into the queue."""
    delivered: int
    """Acknowledged by the destination."""
    invalid: int
    """Not an event by the contract's rules."""
    failed: int
    """Refused by the destination, damaged on disk, or given up when the logger was closed."""
    dropped: int
    """Never accepted: queue or journal full, or the logger closed or without a destination."""
    queued: int
    """Not settled yet; once the logger is closed: left in the journal for the next start."""
    recovered: int = 0
    """Found in the journals of processes that ended before they had sent them."""
    unjournaled: int = 0
    """Of the accepted, those in memory only because the journal could not be written."""


@dataclass(slots=True)
class Tally:
    """The running counts. Callers write the first two under a lock, one thread the others."""

    accepted: int = 0
    dropped: int = 0
    delivered: int = 0
    invalid: int = 0
    failed: int = 0
    recovered: int = 0
    unjournaled: int = 0

    def snapshot(self) -> Counts:
        """Return the counts as they are now."""
        # Settled before accepted, so that what happens in between never makes `queued` negative.
        delivered, invalid, failed = self.delivered, self.invalid, self.failed
        accepted, recovered = self.accepted, self.recovered
        return Counts(
            accepted=accepted,
            delivered=delivered,
            invalid=invalid,
            failed=failed,
            dropped=self.dropped,
            queued=accepted + recovered - delivered - invalid - failed,
            recovered=recovered,
            unjournaled=self.unjournaled,
        )
