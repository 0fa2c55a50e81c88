"""What the logger says in the bot's log, on the logger `intentloop.conversation`.

Phone numbers never appear in it.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from intentloop_schemas import Event
from intentloop_schemas.confidence import to_percent
from intentloop_schemas.masking import masked_text
from intentloop_schemas.pii import SHORTEST_SENDER

LOGGER_NAME = "intentloop.conversation"
WARNING_SECONDS = 30.0
SHOWN_CHARACTERS = 40

_WITHOUT_JOURNAL = (
    "The journal cannot be written: {why}. Conversations wait in memory only, and are lost if the "
    "bot is killed. Set INTENTLOOP_JOURNAL_DIR to a folder that can be written, or "
    "INTENTLOOP_JOURNAL_MAX_MB to 0 if memory will do"
)
_UNREPEATABLE = (
    "A message_id came without a timestamp: a message that its platform delivers twice is then "
    "kept twice. Pass the platform's timestamp of the message."
)

_log = logging.getLogger(LOGGER_NAME)
# What would end the line or hide in it.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def without(sender: object, text: str) -> str:
    """Return `text` with each appearance of the sender replaced."""
    # isinstance would ask an object that is no string for its class, and that may raise.
    if issubclass(type(sender), str) and len(str(sender)) >= SHORTEST_SENDER:
        return text.replace(str(sender), "<sender>")
    return text


def logged_line(event: Event, *, shows_text: bool = True) -> str:
    """Return the line about one event, with the start of its text."""
    text = masked_text(without(event.phone_number, event.message_text))[:SHOWN_CHARACTERS]
    said = f"'{_CONTROL.sub(' ', text)}'..." if shows_text else "(text not shown)"
    return (
        f"Logged: {said} → intent: {_CONTROL.sub(' ', event.intent)}, "
        f"confidence: {to_percent(event.confidence)}%"
    )


@dataclass(slots=True)
class Complaint:
    """Something said at once, and then once per interval with how often it happened since."""

    template: str
    """With places for {count} and {detail}."""
    count: int = 0
    detail: str = ""
    next_at: float = 0.0
    """When it may be said again, in monotonic seconds."""

    def add(self, detail: str, count: int = 1) -> None:
        """Remember that it happened; the latest detail is the one that is said."""
        self.count += count
        self.detail = detail

    def due(self, now: float) -> bool:
        """Tell whether there is something to say, and it may be said."""
        return self.count > 0 and now >= self.next_at

    def take(self, now: float) -> str:
        """Return what to say, and wait for the next interval."""
        text = self.template.format(count=self.count, detail=self.detail)
        self.count, self.next_at = 0, now + WARNING_SECONDS
        return text


class Report:
    """Says what happens to conversations; belongs to the delivery thread.

    `destination` is where they go, as named in the lines. A summary is due after `batch_size`
    delivered events or `batch_seconds` after the first of them. Without `shows_text` nothing of
    what customers write appears.
    """

    def __init__(
        self,
        destination: str,
        batch_size: int,
        batch_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        *,
        shows_text: bool = True,
    ) -> None:
        self._destination = destination
        self._shows_text = shows_text
        self._batch_size = batch_size
        self._batch_seconds = batch_seconds
        self._clock = clock
        self._sent = self._flagged = self._known_drops = 0
        self._summary_at = 0.0
        self._invalid = Complaint("Conversations not valid, so not logged: {count}. {detail}")
        self._failed = Complaint(
            f"Conversations not delivered to {destination}: {{count}}. {{detail}}"
        )
        self._dropped = Complaint("Conversations dropped: {count}. {detail}")
        self._trouble = Complaint(f"{destination} cannot be used, conversations wait: {{detail}}")
        self._damaged = Complaint("Conversations damaged in the journal: {count}. {detail}")
        self._complaints = (
            self._invalid,
            self._failed,
            self._dropped,
            self._trouble,
            self._damaged,
        )
        self._has_journal = True
        self._warned_of_redelivery = self._warned_of_reports = False

    def logged(self, event: Event) -> None:
        """Say that an event is on its way."""
        if _log.isEnabledFor(logging.INFO):
            _say(logging.INFO, logged_line(event, shows_text=self._shows_text))

    def delivered(self, *, flagged: bool) -> None:
        """Count an acknowledged event for the summary."""
        if not self._sent:
            self._summary_at = self._clock() + self._batch_seconds
        self._sent += 1
        self._flagged += flagged
        if self._sent >= self._batch_size:
            self._summarise()

    def invalid(self, why: str) -> None:
        """Remember an utterance that is not an event."""
        self._invalid.add(why)

    def unrepeatable(self) -> None:
        """Warn, once, of a message whose second delivery cannot be recognised."""
        if not self._warned_of_redelivery:
            self._warned_of_redelivery = True
            _say(logging.WARNING, _UNREPEATABLE)

    def unreported(self, why: str) -> None:
        """Warn, once, that the logger's reports on itself do not arrive."""
        if not self._warned_of_reports:
            self._warned_of_reports = True
            _say(
                logging.WARNING,
                f"Conversations are logged, but {self._destination} does not take this logger's "
                f"reports on itself: {why}",
            )

    def failed(self, why: str, count: int = 1) -> None:
        """Remember events that did not reach the destination."""
        self._failed.add(why, count)

    def trouble(self, what: str) -> None:
        """Remember that the destination is in trouble, for now."""
        self._trouble.add(what)

    def damaged(self, count: int, path: str) -> None:
        """Remember events of the journal that cannot be read; their lines were set aside."""
        self._damaged.add(f"They are kept beside {path}, in a file that ends in .damaged", count)

    def recovered(self, count: int) -> None:
        """Say that a dead process has left events, which are sent now."""
        _say(logging.INFO, f"Found {count} conversations in the journal of a bot that ended")

    def without_journal(self, why: str) -> None:
        """Warn, once, that the journal cannot be written."""
        if self._has_journal:
            self._has_journal = False
            _say(logging.WARNING, _WITHOUT_JOURNAL.format(why=why))

    def with_journal(self) -> None:
        """Say so if the journal can be written again."""
        if not self._has_journal:
            self._has_journal = True
            _say(logging.INFO, "The journal of conversations can be written again")

    def kept(self, count: int, folder: str) -> None:
        """Say that events are left on disk."""
        _say(
            logging.WARNING,
            f"Conversations not sent to {self._destination} yet: {count}. They wait in {folder}, "
            "and are sent when the bot starts again",
        )

    def tick(self, *, dropped: int, why: str) -> None:
        """Say what is due; `dropped` is the running count of refused utterances."""
        now = self._clock()
        if dropped > self._known_drops:
            self._dropped.add(why, dropped - self._known_drops)
            self._known_drops = dropped
        for complaint in self._complaints:
            if complaint.due(now):
                _say(logging.WARNING, complaint.take(now))
        if self._sent and now >= self._summary_at:
            self._summarise()

    def finish(self) -> None:
        """Say what is left to say."""
        for complaint in self._complaints:
            if complaint.count:
                _say(logging.WARNING, complaint.take(self._clock()))
        if self._sent:
            self._summarise()

    def _summarise(self) -> None:
        _say(
            logging.INFO,
            f"Sent {self._sent} conversation logs to {self._destination} "
            f"({self._flagged} flagged for review)",
        )
        self._sent = self._flagged = 0


def _say(level: int, text: str) -> None:
    # A bot's own logging filter may raise; delivery goes on.
    with suppress(Exception):
        _log.log(level, text)
