"""From requests to the store, or to files while it is away. Everything here blocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, assert_never

import structlog

from intentloop_admin.ingest.line import Line
from intentloop_admin.ingest.post import Post
from intentloop_schemas import Batch
from intentloop_sink import Outcome, OutOfTurn, Prepared, Refused, Retry, Stored, Unavailable
from intentloop_sink.spool import Spool, SpoolError
from intentloop_stream.processing import LocalRecord

_RETRIES = 5
"""How often a group is tried again before it is spooled, when the database is well."""
_RECONNECTS = 1
"""The same when it is away: a connection that was cut while idle shows only when it is used."""
_PAUSE_SECONDS = 0.05

log = structlog.get_logger(__name__)


class NotTakenError(Exception):
    """Neither the store nor the disk took it. Nothing counts; sending it again is safe."""


class Sink(Protocol):
    """Where groups of batches go; both block."""

    def prepare(self, batches: Sequence[Batch]) -> Prepared:
        """Do everything that needs no database."""
        ...

    def store(self, prepared: Prepared) -> Outcome:
        """Store a prepared group, all of it or nothing."""
        ...


class Writer:
    """Stores groups of requests, each group in one transaction. For one thread.

    Args:
        line: numbers them.
        sink: the store.
        spool: takes what the store cannot; while something waits there everything goes there.
            Without one, what the store cannot take is not taken.
        sleep: waits between attempts.
    """

    def __init__(
        self,
        line: Line,
        sink: Sink,
        spool: Spool | None,
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
        while batches := self._numbered(posts):
            if self._spool is not None and not self._spool.is_empty:
                self._put_aside(batches, self._spool)
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
                        self._give_up(batches, outcome.error)
                        return
                    attempt += 1
                    self._sleep(_PAUSE_SECONDS * attempt)
                case _:
                    assert_never(outcome)

    def _numbered(self, posts: Sequence[Post]) -> list[Batch]:
        batches = self._line.batches(posts)
        if self._spool is None:
            # They go into files whatever comes.
            spell_alike(batches)
        return batches

    def _give_up(self, batches: list[Batch], error: str) -> None:
        if self._spool is None:
            raise NotTakenError(error)
        self._put_aside(batches, self._spool)

    def _put_aside(self, batches: list[Batch], spool: Spool) -> None:
        spell_alike(batches)
        try:
            spool.append(batches)
        except SpoolError as error:
            raise NotTakenError(str(error)) from error
        self._line.advance(batches)
        log.warning("spooled", batches=len(batches), waiting=spool.events)


def spell_alike(batches: Iterable[Batch]) -> None:
    """Let the JSON of each conversation be ours: files then hold each of them once."""
    for batch in batches:
        for entry in batch.entries:
            record = entry.record
            assert isinstance(record, LocalRecord)  # noqa: S101 - posts hold nothing else
            record.value = entry.event.to_json()


def _refuse(posts: Sequence[Post], refused: Refused) -> None:
    errors = {id(refusal.entry): refusal.error for refusal in refused.refusals}
    for post in posts:
        gone = {id(entry) for entry in post.entries} & errors.keys()
        if gone:
            post.errors |= {entry: errors[entry] for entry in gone}
            post.entries = [entry for entry in post.entries if id(entry) not in gone]
