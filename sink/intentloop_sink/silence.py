"""Noticing that a call to the database will never be answered.

A network may swallow what is sent while the connection looks open, and then a call waits for ever.
A slow call looks just the same from here, so the server is asked, over a second connection, what it
is doing for us.
"""

from __future__ import annotations

import logging
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import NamedTuple

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class

LOOK_SECONDS = 2.5
"""A call is looked after when it takes longer, and again at this interval."""
_ANSWER_SECONDS = 3.0

# By name, not by backend: behind a connection pooler the backend's number is another one.
_ACTIVITY = """
SELECT coalesce(bool_or(a.state = 'active' AND a.wait_event_type IS DISTINCT FROM 'Client'), false),
       array_agg((a.pid, a.query_start, a.state_change, c.bytes_processed)::text ORDER BY a.pid)
FROM pg_stat_activity AS a LEFT JOIN pg_stat_progress_copy AS c USING (pid)
WHERE a.application_name = %s
"""

log = logging.getLogger(__name__)


class Activity(NamedTuple):
    """What the server does for a session."""

    is_working: bool
    """It runs a statement, and does not wait for the client."""
    trace: tuple[str, ...] = ()
    """Changes with whatever it does."""

    def is_dead_since(self, before: Activity | None) -> bool:
        """Tell whether the server has been waiting for us, who wait for it, since `before`."""
        return before is not None and not self.is_working and self.trace == before.trace


@contextmanager
def cutting_when_silent(url: str, connection: Connection) -> Iterator[None]:
    """While the block runs, cut a connection that waits for a server that waits for it.

    So is one whose server cannot be asked twice running. The call that is under way then raises
    psycopg2.OperationalError.
    """
    watch = _Watch(url, connection)
    threading.Thread(target=watch.run, name="silence", daemon=True).start()
    try:
        yield
    finally:
        watch.end()


class _Watch:
    def __init__(self, url: str, connection: Connection) -> None:
        self._url = url
        self._connection = connection
        self._name = connection.info.parameter_status("application_name") or ""
        self._is_over = threading.Event()
        self._turn = threading.Lock()

    def run(self) -> None:
        before: Activity | None = None
        while not self._is_over.wait(LOOK_SECONDS):
            now = _look(self._url, self._name)
            if now.is_dead_since(before):
                self._cut()
                return
            before = now

    def end(self) -> None:
        """Touch the connection no more."""
        with self._turn:
            self._is_over.set()

    def _cut(self) -> None:
        """End the connection under the call that is blocked in it."""
        with self._turn, suppress(OSError, psycopg2.Error):
            if self._is_over.is_set():
                return
            log.warning("the database has fallen silent: cutting the connection")
            own = socket.socket(fileno=self._connection.fileno())
            try:
                own.shutdown(socket.SHUT_RDWR)
            finally:
                # The connection closes it itself.
                own.detach()


def _look(url: str, application_name: str) -> Activity:
    """Ask the server what it is doing; when it does not answer, nothing."""
    deadline = time.monotonic() + _ANSWER_SECONDS
    try:
        with closing(psycopg2.connect(url, application_name="intentloop look", async_=True)) as own:
            _complete(own, deadline)
            cursor = own.cursor()
            cursor.execute(_ACTIVITY, (application_name,))
            _complete(own, deadline)
            is_working, trace = cursor.fetchone() or (False, None)
            return Activity(is_working, tuple(trace or ()))
    except (psycopg2.Error, TimeoutError) as error:
        log.warning("the database does not say what it is doing: %s", error)
        return Activity(is_working=False)


def _complete(connection: Connection, deadline: float) -> None:
    """Wait until what was begun on an asynchronous connection is over."""
    while (state := connection.poll()) != POLL_OK:
        reading, writing = ([connection], []) if state == POLL_READ else ([], [connection])
        ready = select.select(reading, writing, [], max(0.0, deadline - time.monotonic()))
        if not any(ready):
            raise TimeoutError(f"no answer within {_ANSWER_SECONDS:g} s")
