"""From requests to the store, or to files while it is away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, assert_never

import structlog

from intentloop_admin.ingest.line import Line
from intentloop_admin.ingest.post import Post
from intentloop_schemas import Batch, Entry
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
    """Where groups of batches go."""

    def encode(self, entries: Iterable[Entry]) -> dict[str, str]:
        """Do the part of `prepare` that looks at each entry alone. Does not block."""
        ...

    def prepare(self, batches: Sequence[Batch], lines: Mapping[str, str] | None) -> Prepared:
        """Do the rest that needs no database, given what was encoded."""
        ...

    def store(self, prepared: Prepared) -> Outcome:
        """Store a prepared group, all of it or nothing. Blocks."""
        ...


class Writer:
    """Stores groups of requests, each group in one transaction. One thread encodes, one writes.

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

    def encode(self, post: Post) -> None:
        """Do what can be done of a request while others are written. Does not block."""
        post.lines = self._sink.encode(post.entries)

    def write(self, posts: Sequence[Post]) -> None:
        """Make encoded requests safe; what is refused goes from their entries to their errors.

        Blocks. Raises NotTakenError when there is no room for them.
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
        lines: dict[str, str] | None = _lines(posts)
        while batches := self._numbered(posts):
            if self._spool is not None and not self._spool.is_empty:
                self._put_aside(batches, self._spool)
                return
            outcome = self._sink.store(self._sink.prepare(batches, lines))
            match outcome:
                case Stored():
                    self._line.advance(batches)
                    return
                case Refused():
                    _refuse(posts, outcome)
                    # Another entry of the same id may be the first now.
                    lines = None
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


def _lines(posts: Sequence[Post]) -> dict[str, str]:
    """Return all lines; where several posts have an id, that of the first."""
    lines: dict[str, str] = {}
    for post in reversed(posts):
        lines.update(post.lines)
    return lines


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
