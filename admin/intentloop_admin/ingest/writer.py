"""From requests to the store, or to files while it is away. Everything here blocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import assert_never

import structlog

from intentloop_admin.ingest.line import Line
from intentloop_admin.ingest.post import Post
from intentloop_schemas import Batch
from intentloop_sink import OutOfTurn, PostgresSink, Refused, Retry, Stored, Unavailable
from intentloop_sink.spool import Spool, SpoolError

_RETRIES = 5
"""How often a group is tried again before it is spooled, when the database is well."""
_RECONNECTS = 1
"""The same when it is away: a connection that was cut while idle shows only when it is used."""
_PAUSE_SECONDS = 0.05

log = structlog.get_logger(__name__)


class NotTakenError(Exception):
    """Neither the store nor the disk took it. Nothing counts; sending it again is safe."""


class Writer:
    """Stores groups of requests, each group in one transaction. For one thread.

    Args:
        line: numbers them.
        sink: the store.
        spool: takes what the store cannot; while something waits there everything goes there.
        sleep: waits between attempts.
    """

    def __init__(
        self,
        line: Line,
        sink: PostgresSink,
        spool: Spool,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._line = line
        self._sink = sink
        self._spool = spool
        self._sleep = sleep

    def write(self, posts: Sequence[Post]) -> None:
        """Make requests safe; what the store refuses goes from their entries to their errors.

        Raises NotTakenError when there is no room for them.
        """
        try:
            self._write(posts)
        except BaseException:
            # The store may have taken them all the same, and only its answer was lost: then their
            # places on the line are taken.
            self._line.renew()
            raise

    def _write(self, posts: Sequence[Post]) -> None:
        attempt = 0
        while batches := self._line.batches(posts):
            if not self._spool.is_empty:
                self._put_aside(batches)
                return
            outcome = self._sink.store(self._sink.prepare(batches))
            match outcome:
                case Stored():
                    self._line.advance(batches)
                    return
                case Refused():
                    _refuse(posts, outcome)
                case OutOfTurn():
                    log.warning("line_moved", expected=outcome.expected)
                    self._line.renew()
                case Retry() | Unavailable():
                    log.warning("store_failed", error=outcome.error, attempt=attempt)
                    patience = _RETRIES if isinstance(outcome, Retry) else _RECONNECTS
                    if attempt >= patience:
                        self._put_aside(batches)
                        return
                    attempt += 1
                    self._sleep(_PAUSE_SECONDS * attempt)
                case _:
                    assert_never(outcome)

    def _put_aside(self, batches: list[Batch]) -> None:
        try:
            self._spool.append(batches)
        except SpoolError as error:
            raise NotTakenError(str(error)) from error
        self._line.advance(batches)
        log.warning("spooled", batches=len(batches), waiting=self._spool.events)


def _refuse(posts: Sequence[Post], refused: Refused) -> None:
    errors = {id(refusal.entry): refusal.error for refusal in refused.refusals}
    for post in posts:
        gone = {id(entry) for entry in post.entries} & errors.keys()
        if gone:
            post.errors |= {entry: errors[entry] for entry in gone}
            post.entries = [entry for entry in post.entries if id(entry) not in gone]
