"""What was accepted, in its order: first to the disk, then to the sender.

The sender holds a bounded number of events; the others are on disk only, and are read back when
it is their turn. Without a journal, or while it cannot be written, events are in memory only.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from intentloop_producer.counts import Tally
from intentloop_producer.journal import Journal, Reading, Segment
from intentloop_producer.report import Report
from intentloop_producer.sender import Entry, Sender
from intentloop_producer.transport import Transport
from intentloop_schemas import Event, PiiRule, ReviewRule

PLAIN = PiiRule()
JOURNAL_RETRY_SECONDS = 30.0
ADOPTION_SECONDS = 10.0


class Outbox:
    """Keeps events until they are settled. Belongs to one thread."""

    def __init__(
        self,
        transport: Transport,
        journal: Journal | None,
        rule: ReviewRule,
        report: Report,
        tally: Tally,
        clock: Callable[[], float] = time.monotonic,
        pii: PiiRule = PLAIN,
    ) -> None:
        self._journal = journal
        self._sender = Sender(transport, self._release, report, tally, clock)
        self._rule = rule
        self._pii = pii
        self._report = report
        self._tally = tally
        self._clock = clock
        self._held: list[Entry] = []
        self._journal_at = self._adopt_at = 0.0

    @property
    def wants_more(self) -> bool:
        """Whether to add events now, and not leave them in the queue."""
        return not self._held and (self._can_store or self._sender.has_room)

    @property
    def is_full(self) -> bool:
        """Whether the journal has no room: nothing should be accepted now."""
        journal = self._journal if self._can_store else None
        return journal is not None and (journal.is_full or bool(self._held))

    @property
    def mark(self) -> int:
        """A mark behind everything that was added."""
        return self._sender.next_number + self._unread + len(self._held)

    def is_settled(self, mark: int) -> bool:
        """Tell whether everything before a mark is settled."""
        # Damage in the journal makes marks too high: in the end what counts is that nothing waits.
        return self._sender.oldest >= min(mark, self.mark)

    def add(self, event: Event) -> None:
        """Take an event; the next `pump` brings it to the disk."""
        self._held.append(self._entry(event))

    def pump(self, seconds: float, *, hurry: bool = False) -> None:
        """Take every event a step further, and wait up to `seconds` for something to settle.

        `hurry` has the transport send what it would gather for a while.
        """
        self.adopt()
        self.store()
        self._fetch()
        self._sender.send()
        may_go_on = self._unread and not self._sender.is_blocked
        self._sender.serve(0 if may_go_on else seconds, hurry=hurry)

    def store(self) -> None:
        """Bring to the disk what was added. Blocks until it is there."""
        if self._held and self._journal and self._can_store:
            self._append(self._journal)
        if self._held and not self._can_store and self._is_read:
            self._tally.unjournaled += len(self._held) if self._journal else 0
            self._sender.enqueue(self._held, None)
            self._held = []

    def _entry(self, given: Event, value: bytes | None = None) -> Entry:
        """Return what may be kept of an event; `value` is what the disk has of it."""
        event = self._pii.hide(given)
        if value is None or event is not given:
            value = event.to_json()
        flagged = bool(self._rule.reasons(event.intent, event.confidence, event.alternatives))
        return Entry(event.phone_number.encode(), value, flagged)

    def adopt(self) -> None:
        """Look for what dead processes have left, now and then while there is nothing else."""
        journal, now = self._journal, self._clock()
        if journal is None or self._held or journal.size or now < self._adopt_at:
            return
        self._adopt_at = now + ADOPTION_SECONDS
        try:
            journal.adopt()
        except (OSError, ImportError) as error:
            self._without_journal(error)
        if found := journal.unread:
            self._tally.recovered += found
            self._report.recovered(found)

    def _append(self, journal: Journal) -> None:
        """Bring what is held to the disk; what does not fit stays held."""
        is_next = self._is_read and self._sender.has_room
        try:
            segment, stored = journal.append([entry.value for entry in self._held])
        except (OSError, ImportError) as error:
            self._without_journal(error)
            return
        self._report.with_journal()
        if is_next:
            journal.hand_out(segment)
            self._sender.enqueue(self._held[:stored], segment)
        del self._held[:stored]

    def _without_journal(self, error: Exception) -> None:
        self._journal_at = self._clock() + JOURNAL_RETRY_SECONDS
        self._report.without_journal(str(error))

    def _fetch(self) -> None:
        while self._journal and not self._is_read and self._sender.has_room:
            reading = self._journal.read()
            entries = [self._entry(event, value) for event, value in reading.events]
            self._sender.enqueue(entries, reading.segment)
            self._count_damage(reading)

    def _count_damage(self, reading: Reading) -> None:
        self._tally.recovered += max(0, -reading.missing)
        if lost := len(reading.damaged) + max(0, reading.missing):
            self._tally.failed += lost
            self._report.damaged(lost, str(reading.segment.path))

    def _release(self, segment: Segment) -> None:
        if self._journal:
            self._journal.settle(segment)

    @property
    def _can_store(self) -> bool:
        return self._journal is not None and self._clock() >= self._journal_at

    @property
    def _is_read(self) -> bool:
        return self._journal is None or self._journal.is_read

    @property
    def _unread(self) -> int:
        return self._journal.unread if self._journal else 0
