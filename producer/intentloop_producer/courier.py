"""The delivery thread's work: utterances in, settled events out."""

from __future__ import annotations

import os
import time
from functools import partial

from intentloop_producer.conversion import objection, to_event
from intentloop_producer.intake import Close, Flush, Intake
from intentloop_producer.report import Report
from intentloop_producer.transport import Transport
from intentloop_producer.utterance import Utterance
from intentloop_schemas import Event, ReviewRule

_POLL_SECONDS = 0.05
_ENTROPY_BYTES = 10


class Courier:
    """Takes utterances from the intake, makes events of them and hands them to the transport."""

    def __init__(
        self, intake: Intake, transport: Transport, rule: ReviewRule, report: Report
    ) -> None:
        self._intake = intake
        self._tally = intake.tally
        self._transport = transport
        self._rule = rule
        self._report = report

    def run(self) -> None:
        """Deliver until the intake is closed, then flush until its deadline."""
        while not isinstance(item := self._next(), Close):
            match item:
                case Utterance():
                    self._deliver(item)
                case Flush():
                    self._flush(item)
            self._tick()
        self._transport.flush(self._intake.time_left())

    def _next(self) -> Utterance | Flush | Close | None:
        item = self._intake.take()
        self._transport.poll(0 if item is not None else _POLL_SECONDS)
        return item

    def _deliver(self, utterance: Utterance) -> None:
        try:
            event = to_event(utterance, os.urandom(_ENTROPY_BYTES))
        except Exception as error:  # noqa: BLE001 - a bot passes anything, and its objects may raise
            self._tally.invalid += 1
            self._report.invalid(objection(error, utterance))
            return
        if utterance.message_id is not None and utterance.timestamp is None:
            self._report.unrepeatable()
        if self._send(event):
            self._report.logged(event)

    def _send(self, event: Event) -> bool:
        flagged = bool(self._rule.reasons(event.intent, event.confidence, event.alternatives))
        settle = partial(self._settle, flagged)
        key, value = event.phone_number.encode(), event.to_json()
        while not self._transport.send(key, value, settle):
            if not self._intake.time_left():
                return False
            self._transport.poll(_POLL_SECONDS)
            self._tick()
        return True

    def _settle(self, flagged: bool, error: str | None) -> None:  # noqa: FBT001 - bound by partial
        if error is None:
            self._tally.delivered += 1
            self._report.delivered(flagged=flagged)
        else:
            self._tally.failed += 1
            self._report.failed(error)

    def _flush(self, request: Flush) -> None:
        self._transport.flush(max(0.0, request.deadline - time.monotonic()))
        request.done.set()

    def _tick(self) -> None:
        self._report.tick(dropped=self._tally.dropped, bound=self._intake.bound)
