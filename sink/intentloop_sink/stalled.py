"""Ending the sessions of stalled writers.

A worker that is frozen in the middle of its transaction keeps its locks until it wakes. Whatever it
had not committed is stored by whoever has the partition now, so ending its session loses nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2

from intentloop_sink.connection import WRITER_PREFIX, connect

_LOOK_EVERY_SECONDS = 0.1

# Only what blocks this one session, only our own writers, and only those that hold their
# transaction open for long without waiting for somebody else.
_TERMINATE = """
SELECT a.pid, a.application_name, pg_terminate_backend(a.pid)
FROM unnest(pg_blocking_pids(%s)) AS blocking (pid) JOIN pg_stat_activity AS a USING (pid)
WHERE starts_with(a.application_name, %s)
  AND a.xact_start < clock_timestamp() - %s * interval '1 second'
  AND a.wait_event_type IS DISTINCT FROM 'Lock'
"""

log = logging.getLogger(__name__)


@contextmanager
def ending_stalled_writers(
    url: str, writer: str, waiting_pid: int, stalled_seconds: float
) -> Iterator[None]:
    """While the block runs, end writers that have blocked a backend for longer than given."""
    done = threading.Event()
    arguments = (url, writer, waiting_pid, stalled_seconds, done)
    thread = threading.Thread(target=_watch, args=arguments, name="stalled-writers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _watch(
    url: str, writer: str, waiting_pid: int, stalled_seconds: float, done: threading.Event
) -> None:
    try:
        with closing(connect(url, writer)) as connection, connection.cursor() as cursor:
            while not done.wait(_LOOK_EVERY_SECONDS):
                cursor.execute(_TERMINATE, (waiting_pid, WRITER_PREFIX, stalled_seconds))
                for pid, name, ended in cursor:
                    log.warning("ended stalled writer %s (backend %s): %s", name, pid, ended)
    except psycopg2.Error as error:
        log.warning("cannot look for stalled writers: %s", error)
