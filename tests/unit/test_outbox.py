"""The outbox as time goes by: a clock set by hand, a disk that breaks, a journal that fills."""

from __future__ import annotations

from pathlib import Path

import pytest

from intentloop_producer.counts import Tally
from intentloop_producer.journal import Journal
from intentloop_producer.outbox import ADOPTION_SECONDS, JOURNAL_RETRY_SECONDS, Outbox
from intentloop_producer.report import Report
from intentloop_producer.sender import MOST_READY
from intentloop_schemas import Event, ReviewRule
from support.journals import numbers
from support.shelf import Shelf


class Clocked:
    """An outbox with a clock that is set by hand."""

    def __init__(self, root: Path) -> None:
        self.now = 0.0
        self.shelf, self.tally = Shelf(), Tally()
        self.disk_is_broken = False
        self.journal = Journal(root, 1_000_000, self._sync)
        report = Report("a shelf", 10, 30)
        self.outbox = Outbox(
            self.shelf, self.journal, ReviewRule(), report, self.tally, lambda: self.now
        )

    def _sync(self, _descriptor: int) -> None:
        if self.disk_is_broken:
            raise OSError(5, "Input/output error")

    def add(self, text: object) -> None:
        text = str(text)
        fields = {"phoneNumber": "1", "messageText": text, "intent": "a", "confidence": 1}
        self.outbox.add(Event.model_validate({**fields, "timestamp": 1_698_345_600_000}))
        self.outbox.pump(0)


def test_when_the_journal_can_be_written_again_it_is(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "intentloop.conversation")
    root.touch()
    ours = Clocked(root)
    ours.shelf.room.clear()
    ours.add("in memory")
    root.unlink()
    ours.add("in memory too")
    assert (ours.tally.unjournaled, ours.journal.kept) == (2, 0)
    ours.now = JOURNAL_RETRY_SECONDS
    ours.add("on disk")
    assert (ours.tally.unjournaled, ours.journal.kept) == (2, 1)
    assert "The journal of conversations can be written again" in caplog.text
    ours.shelf.room.set()
    ours.outbox.pump(0)
    assert ours.shelf.texts() == ["in memory", "in memory too", "on disk"]
    ours.journal.close()


def test_who_has_nothing_else_to_do_sends_for_the_dead(root: Path) -> None:
    ours, dying = Clocked(root), Clocked(root)
    ours.outbox.pump(0)
    dying.shelf.room.clear()
    dying.add("left behind")
    assert dying.journal.close() == 1

    ours.outbox.pump(0)
    assert ours.shelf.texts() == []
    ours.now = ADOPTION_SECONDS
    ours.outbox.pump(0)
    assert ours.shelf.texts() == ["left behind"]
    assert ours.tally.recovered == 1
    ours.outbox.pump(0)
    assert ours.journal.close() == 0


def test_beyond_a_bound_events_are_on_disk_only(root: Path) -> None:
    ours = Clocked(root)
    ours.shelf.room.clear()
    for number in range(MOST_READY + 500):
        ours.add(number)
    assert ours.journal.unread == 500
    ours.shelf.room.set()
    while not ours.outbox.is_settled(ours.outbox.mark):
        ours.outbox.pump(0)
    assert ours.shelf.texts() == numbers(MOST_READY + 500)


def test_what_cannot_be_written_does_not_overtake_what_is_on_disk(root: Path) -> None:
    ours = Clocked(root)
    ours.shelf.room.clear()
    for number in range(MOST_READY + 500):
        ours.add(number)
    ours.disk_is_broken = True
    ours.add("in memory")
    assert not ours.outbox.wants_more
    ours.shelf.room.set()
    while not ours.outbox.is_settled(ours.outbox.mark):
        ours.outbox.pump(0)
    assert ours.shelf.texts() == [*numbers(MOST_READY + 500), "in memory"]
    assert ours.tally.unjournaled == 1


def test_a_mark_is_passed_when_all_before_it_is_settled_whatever_comes_after(root: Path) -> None:
    ours = Clocked(root)
    ours.shelf.answers.clear()
    ours.add("before")
    ours.add("before too")
    mark = ours.outbox.mark
    ours.add("after")
    first, second, third = ours.shelf.waiting
    for settle, passed in ((third, False), (first, False), (second, True)):
        settle(None)
        assert ours.outbox.is_settled(mark) == passed
    ours.add("last")
    assert ours.outbox.is_settled(mark)
    assert not ours.outbox.is_settled(ours.outbox.mark)
    ours.journal.close()
