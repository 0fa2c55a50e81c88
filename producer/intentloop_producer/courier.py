"""The delivery thread's work: utterances in, settled events out."""

from __future__ import annotations

import os
import time

from intentloop_producer.conversion import ENTROPY_BYTES, objection, to_event
from intentloop_producer.intake import Close, Flush, Intake, Item, Utterance
from intentloop_producer.outbox import Outbox
from intentloop_producer.report import Report
from intentloop_producer.vitals import Vitals

POLL_SECONDS = 0.02
"""A killed bot loses what was logged during this time, and a sync of the disk."""
_GROUP = 1_000


class Courier:
    """Takes utterances from the intake, makes events of them and puts them into the outbox."""

    def __init__(
        self, intake: Intake, outbox: Outbox, report: Report, vitals: Vitals, id_key: bytes
    ) -> None:
        self._intake = intake
        self._tally = intake.tally
        self._outbox = outbox
        self._report = report
        self._vitals = vitals
        self._id_key = id_key
        self._flushes: list[tuple[Flush, int]] = []
        self._is_closing = False

    def run(self) -> None:
        """Deliver until the intake is closed, then until everything is settled or time is up."""
        try:
            # What dead processes have left was logged before any flush that is asked for now.
            self._outbox.adopt()
            while not self._is_over():
                self._step()
            self._vitals.finish(self._intake.time_left())
            # Nobody will deliver the rest any more, but it may still reach the disk.
            while self._take():
                self._outbox.store()
        finally:
            for flush, _ in self._flushes:
                flush.done.set()

    def _step(self) -> None:
        taken = self._take()
        hurry = self._is_closing or bool(self._flushes)
        self._outbox.pump(0 if taken == _GROUP else POLL_SECONDS, hurry=hurry)
        self._intake.is_full = self._outbox.is_full
        self._report.tick(dropped=self._tally.dropped, why=self._intake.why_dropped)
        self._vitals.tick()
        self._answer_flushes()

    def _is_over(self) -> bool:
        is_done = self._is_closing and self._outbox.is_settled(self._outbox.mark)
        return is_done or not self._intake.time_left()

    def _take(self) -> int:
        """Put what waits into the outbox, a group at most; return how many that were."""
        if not self._outbox.wants_more:
            return 0
        for taken in range(_GROUP):
            if (item := self._intake.take()) is None:
                return taken
            self._handle(item)
        return _GROUP

    def _handle(self, item: Item) -> None:
        match item:
            case Utterance():
                self._convert(item)
            case Flush():
                self._flushes.append((item, self._outbox.mark))
            case Close():
                self._is_closing = True

    def _convert(self, utterance: Utterance) -> None:
        try:
            event = to_event(utterance, os.urandom(ENTROPY_BYTES), self._id_key)
        except Exception as error:  # noqa: BLE001 - a bot passes anything, and its objects may raise
            self._tally.invalid += 1
            self._report.invalid(objection(error, utterance))
            return
        if utterance.message_id is not None and utterance.timestamp is None:
            self._report.unrepeatable()
        self._outbox.add(event)
        self._report.logged(event)

    def _answer_flushes(self) -> None:
        now = time.monotonic()
        for flush, mark in list(self._flushes):
            if now >= flush.deadline or self._outbox.is_settled(mark):
                flush.done.set()
                self._flushes.remove((flush, mark))
