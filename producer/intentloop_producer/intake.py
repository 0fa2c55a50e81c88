"""The bounded queue between the bot's threads and the delivery thread."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from intentloop_producer.counts import Tally


class Utterance(NamedTuple):
    """The arguments of one call of `log()`, unchecked, and when it came."""

    phone_number: Any
    message_text: Any
    intent: Any
    confidence: Any
    current_step: Any
    timestamp: Any
    channel: Any
    language: Any
    model_version: Any
    session_id: Any
    message_id: Any
    alternatives: Any
    dataset_id: Any
    event_id: Any
    logged_at: int
    """Epoch ms of the call; the event's time when none was given."""


@dataclass(frozen=True, slots=True)
class Flush:
    """Asks for the delivery of all that was accepted before; `deadline` in monotonic seconds."""

    deadline: float
    done: threading.Event = field(default_factory=threading.Event)


class Close:
    """Tells the delivery thread that nothing follows."""


Item = Utterance | Flush | Close


_MOST_COSTS = 4_096


class Intake:
    """Takes utterances without waiting: a full or closed queue refuses and counts.

    `bound` is how many utterances it holds. While the thread says that the journal `is_full` it
    takes none. `tally` counts them to the end of their way.
    """

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.tally = Tally()
        self.is_open = True
        self.is_full = False
        self.costs: deque[int] = deque(maxlen=_MOST_COSTS)
        """What calls of `log()` took, in ns; when nobody looks for a while, the latest."""
        self._deadline = float("inf")
        # The thread looks into it at intervals: being woken would cost the caller more than a call.
        self._queue: deque[Item] = deque()
        # Reentrant: a signal handler may log in the middle of the call that it interrupted.
        self._lock = threading.RLock()

    def offer(self, utterance: Utterance) -> bool:
        """Take an utterance, or refuse and count it. Never blocks."""
        with self._lock:
            if not self.is_open or self.is_full or len(self._queue) >= self.bound:
                self.tally.dropped += 1
                return False
            self.tally.accepted += 1
            self._queue.append(utterance)
            return True

    @property
    def why_dropped(self) -> str:
        """Why utterances are refused, when they are."""
        return "The journal is full." if self.is_full else f"The queue of {self.bound} is full."

    def take(self) -> Item | None:
        """Return the next item, or None when there is none now."""
        return self._queue.popleft() if self._queue else None

    def take_cost(self) -> int | None:
        """Return what a call took, in ns, or None when there is none to be taken."""
        return self.costs.popleft() if self.costs else None

    def request_flush(self, timeout: float) -> Flush:
        """Ask the thread to flush for `timeout` seconds at most; `done` is set afterwards."""
        request = Flush(time.monotonic() + timeout)
        self._queue.append(request)
        return request

    def close(self, timeout: float) -> None:
        """Refuse what comes from now on; the thread has `timeout` seconds for what came before."""
        with self._lock:
            if self.is_open:
                self.is_open = False
                self._deadline = time.monotonic() + timeout
                self._queue.append(Close())

    def time_left(self) -> float:
        """Return the seconds until closing is overdue; infinite while open."""
        return max(0.0, self._deadline - time.monotonic())

    def abandon(self, kept: int = 0) -> int:
        """Close; count as failed what is neither settled nor `kept` on disk; return how many."""
        self.close(timeout=0)
        while (item := self.take()) is not None:
            if isinstance(item, Flush):
                item.done.set()
        unsettled = self.tally.snapshot().queued - kept
        self.tally.failed += unsettled
        return unsettled
