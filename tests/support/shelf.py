"""A transport for tests: keeps events at hand, and does whatever a destination may do."""

from __future__ import annotations

import json
import threading
import time

from intentloop_producer.transport import Failure, Route, Settle
from intentloop_schemas import LoggerReport


class Shelf:
    """Takes events while there is `room`, and settles them while it `answers`."""

    def __init__(self) -> None:
        self.room = threading.Event()
        self.room.set()
        self.answers = threading.Event()
        self.answers.set()
        self.serves = threading.Event()
        """While it is clear, who polls is stuck."""
        self.serves.set()
        self.refused = threading.Event()
        self.polled = threading.Event()
        self.refusal: Failure | None = None
        self.taken: list[tuple[bytes, bytes]] = []
        self.waiting: list[Settle] = []
        self.reports: list[LoggerReport] = []
        self.is_closed = False

    def send(self, key: bytes, value: bytes, settle: Settle) -> bool:
        if not self.room.is_set():
            self.refused.set()
            return False
        self.taken.append((key, value))
        self.waiting.append(settle)
        return True

    def report(self, _key: bytes, value: bytes, settle: Settle) -> None:
        self.reports.append(LoggerReport.model_validate_json(value))
        settle(None)

    def poll(self, seconds: float) -> None:
        self.polled.set()
        self.serves.wait(10)
        if not (self.waiting and self.answers.is_set()):
            time.sleep(seconds)
            return
        waiting, self.waiting = self.waiting, []
        for settle in waiting:
            settle(self.refusal)

    def flush(self, seconds: float) -> None:
        if self.answers.wait(seconds):
            self.poll(0)

    def close(self) -> None:
        self.is_closed = True

    def route(self) -> Route:
        return Route("a shelf", lambda _: self)

    def texts(self) -> list[str]:
        return [json.loads(value)["messageText"] for _, value in self.taken]
