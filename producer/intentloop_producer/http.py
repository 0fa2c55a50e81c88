"""The way to the admin backend: batches over HTTP."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from intentloop_producer.http_answer import (
    Answer,
    Divide,
    Outcome,
    Settled,
    Wait,
    outcome_of,
    refusal_of,
)
from intentloop_producer.http_client import HttpClient, Result
from intentloop_producer.report import without
from intentloop_producer.retry import Retry
from intentloop_producer.settings import BackendSettings
from intentloop_producer.transport import HTTP, Failure, Route, Settle
from intentloop_schemas.version import VERSION

BULK_PATH = "/api/training/conversations/bulk"
REPORTS_PATH = "/api/loggers/reports"
MOST_EVENTS = 1_000
"""In a request, by the contract."""
MOST_BYTES = 900_000
"""In a request; proxies often refuse more than a megabyte."""
_STEP_SECONDS = 0.05


class _Item(NamedTuple):
    sender: str
    value: bytes
    settle: Settle
    taken_at: float

    def end(self, why: str | None) -> None:
        """Settle it: delivered, or never to be taken, and why."""
        self.settle(None if why is None else Failure(without(self.sender, why)))


def http_route(backend: BackendSettings, batch_size: int, batch_seconds: float) -> Route:
    """Return the way to the admin backend. Raises ValueError when it has no address."""
    if backend.url is None:
        raise ValueError("ADMIN_BACKEND_URL is not set")
    connect = partial(_connect, backend, batch_size, batch_seconds)
    return Route("Admin Backend", connect, HTTP)


def _connect(
    backend: BackendSettings,
    batch_size: int,
    batch_seconds: float,
    on_trouble: Callable[[str], None],
) -> HttpTransport:
    key = backend.api_key.get_secret_value() if backend.api_key else ""
    headers = {"User-Agent": f"intentloop/{VERSION}"}
    if key:
        headers["X-API-KEY"] = key
    client = HttpClient(backend.url or "", headers, secret=key)
    return HttpTransport(client, batch_size, batch_seconds, on_trouble)


class HttpTransport:
    """Sends events in batches, one request at a time, so that they arrive in their order.

    A request leaves with `batch_size` events, or `batch_seconds` after the first of them. When
    more wait, because the backend was away or is slower than the bot, it carries several batches.
    Events that were not taken are sent again for ever; they keep their ids and times, so that the
    backend stores them once.
    """

    def __init__(
        self,
        client: HttpClient,
        batch_size: int,
        batch_seconds: float,
        on_trouble: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._batch_size = min(batch_size, MOST_EVENTS)
        self._batch_seconds = batch_seconds
        self._on_trouble = on_trouble
        self._clock = clock
        self._retry = Retry(clock, jitter)
        self._most = MOST_EVENTS
        self._waiting: deque[_Item] = deque()
        self._reports: deque[tuple[bytes, Settle]] = deque()
        self._take: Callable[[Result], None] | None = None
        """Takes the result of the request that is on its way."""

    def send(self, key: bytes, value: bytes, settle: Settle) -> bool:
        """Take an event without waiting; False while as many wait as go into one request."""
        if len(self._waiting) >= MOST_EVENTS:
            return False
        self._waiting.append(_Item(key.decode(), value, settle, self._clock()))
        return True

    def report(self, _key: bytes, value: bytes, settle: Settle) -> None:
        """Take a report of the logger itself, to be sent once."""
        self._reports.append((value, settle))

    def poll(self, seconds: float) -> None:
        """Settle what is over; waits up to `seconds` for something to settle."""
        self._post(hurry=False)
        self._await(seconds)

    def flush(self, seconds: float) -> None:
        """Wait up to `seconds` until everything is settled; gather nothing meanwhile."""
        deadline = self._clock() + seconds
        while self._waiting or self._reports or self._take:
            self._post(hurry=True)
            left = deadline - self._clock()
            self._await(min(left, _STEP_SECONDS))
            if left <= 0:
                return

    def close(self) -> None:
        """Let go of the connection and its thread; nothing is settled any more."""
        self._client.close()

    def _post(self, *, hurry: bool) -> None:
        if self._take or not self._retry.is_due(hurry=hurry):
            return
        if self._reports:
            value, settle = self._reports.popleft()
            self._take = partial(_settle_report, settle)
            self._client.post(REPORTS_PATH, value)
        elif batch := self._gather(hurry=hurry):
            self._take = partial(self._settle, batch)
            self._client.post(BULK_PATH, _body(batch))

    def _await(self, seconds: float) -> None:
        result = self._client.wait(seconds)
        if result is not None and self._take:
            take, self._take = self._take, None
            take(result)

    def _gather(self, *, hurry: bool) -> list[_Item]:
        """Return what the next request carries: whole batches, or all if it is time for it."""
        count = min(len(self._waiting), self._most)
        if not (hurry or self._is_overdue):
            count -= count % min(self._batch_size, self._most)
        batch: list[_Item] = []
        room = MOST_BYTES
        while len(batch) < count:
            room -= len(self._waiting[0].value) + 1
            if batch and room < 0:
                break
            batch.append(self._waiting.popleft())
        return batch

    @property
    def _is_overdue(self) -> bool:
        if not self._waiting:
            return False
        return self._clock() >= self._waiting[0].taken_at + self._batch_seconds

    def _settle(self, batch: Sequence[_Item], result: Result) -> None:
        match _outcome(result, len(batch)):
            case Settled(failures):
                self._retry.succeeded()
                self._most = min(2 * self._most, MOST_EVENTS)
                for index, item in enumerate(batch):
                    item.end(failures.get(index))
            case Divide(why) if len(batch) == 1:
                batch[0].end(why)
            case Divide():
                self._most = len(batch) // 2
                self._put_back(batch)
            case Wait(why, is_lasting, retry_after):
                self._put_back(batch)
                self._retry.failed(is_lasting=is_lasting, retry_after=retry_after)
                self._on_trouble(why)

    def _put_back(self, batch: Sequence[_Item]) -> None:
        self._waiting.extendleft(reversed(batch))


def _body(batch: Sequence[_Item]) -> bytes:
    return b'{"conversations":[' + b",".join(item.value for item in batch) + b"]}"


def _outcome(result: Result, count: int) -> Outcome:
    return outcome_of(result, count, time.time()) if isinstance(result, Answer) else Wait(result)


def _settle_report(settle: Settle, result: Result) -> None:
    why = refusal_of(result) if isinstance(result, Answer) else result
    settle(Failure(why) if why else None)
