"""The last part of an event's way: ready, in flight, settled. What is in memory is bounded."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from operator import attrgetter

from intentloop_producer.counts import Tally
from intentloop_producer.journal import Segment
from intentloop_producer.report import Report
from intentloop_producer.transport import Failure, Transport

MOST_READY = 1_000
RESEND_SECONDS = 1.0

_number = attrgetter("number")


@dataclass(slots=True, eq=False)
class Entry:
    """An event on its way; `number` says which comes first."""

    key: bytes
    value: bytes
    flagged: bool
    segment: Segment | None = None
    """Where it is on disk; None when it is in memory only."""
    number: int = 0


class Sender:
    """Hands entries to the transport in their order, as far as it takes them.

    `release` is called with the segment of each entry that is settled.
    """

    def __init__(
        self,
        transport: Transport,
        release: Callable[[Segment], None],
        report: Report,
        tally: Tally,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.next_number = 0
        """The number of the next entry."""
        self._transport = transport
        self._release = release
        self._report = report
        self._tally = tally
        self._clock = clock
        self._ready: deque[Entry] = deque()
        self._in_flight: dict[int, Entry] = {}
        self._returned: list[Entry] = []
        self._resend_at = 0.0

    @property
    def has_room(self) -> bool:
        """Whether to enqueue more now."""
        return len(self._ready) < MOST_READY

    @property
    def is_blocked(self) -> bool:
        """Whether entries wait for the transport to take them."""
        return bool(self._ready or self._returned)

    @property
    def oldest(self) -> int:
        """The number of the first entry that is not settled, or else of the next."""
        ready = list(self._ready)[:1]
        waiting = (*ready, *self._returned, *self._in_flight.values())
        return min(map(_number, waiting), default=self.next_number)

    def enqueue(self, entries: Iterable[Entry], segment: Segment | None) -> None:
        """Take entries that follow on all before; `segment` is where they are on disk."""
        for entry in entries:
            entry.segment, entry.number = segment, self.next_number
            self.next_number += 1
            self._ready.append(entry)

    def send(self) -> None:
        """Hand over what the transport takes."""
        if self._returned:
            self._take_back()
        while self._ready and not self._returned:
            entry = self._ready.popleft()
            self._in_flight[entry.number] = entry
            if not self._transport.send(entry.key, entry.value, partial(self._settle, entry)):
                del self._in_flight[entry.number]
                self._ready.appendleft(entry)
                return

    def serve(self, seconds: float, *, hurry: bool) -> None:
        """Wait up to `seconds` for something to settle.

        `hurry` has the transport send what it would gather for a while.
        """
        (self._transport.flush if hurry else self._transport.poll)(seconds)

    def _take_back(self) -> None:
        """Have what came back sent again, in its order: when nothing is on its way any more."""
        if not self._in_flight and self._clock() >= self._resend_at:
            self._ready.extendleft(sorted(self._returned, key=_number, reverse=True))
            self._returned.clear()

    def _settle(self, entry: Entry, failure: Failure | None) -> None:
        del self._in_flight[entry.number]
        if failure is None:
            self._tally.delivered += 1
            self._report.delivered(flagged=entry.flagged)
        elif failure.is_final:
            self._tally.failed += 1
            self._report.failed(failure.why)
        else:
            self._report.trouble(failure.why)
            self._returned.append(entry)
            self._resend_at = self._clock() + RESEND_SECONDS
            return
        if entry.segment is not None:
            self._release(entry.segment)
