"""The store: examples, statistics and progress in Postgres."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import NamedTuple

import psycopg2
from psycopg2.errors import LockNotAvailable, UniqueViolation
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class

from intentloop_schemas import Batch, Entry, TopicPartition
from intentloop_schemas.failpoint import Failpoint, no_failpoint
from intentloop_sink import schema, statements
from intentloop_sink.connection import connect, is_usable
from intentloop_sink.encoding import LineEncoder
from intentloop_sink.failures import Failure, classify, describe
from intentloop_sink.losses import record_loss
from intentloop_sink.outcome import (
    Outcome,
    OutOfTurn,
    Refused,
    Retry,
    Stored,
    Unavailable,
)
from intentloop_sink.prepared import Prepared, encode, prepare
from intentloop_sink.refusals import find_refused
from intentloop_sink.silence import cutting_when_silent
from intentloop_sink.stalled import ending_stalled_writers
from intentloop_sink.suppression import Suppression
from intentloop_sink.transaction import Timeouts, Transaction, begin_lines

_ATTEMPTS = 4
"""One straight, one careful, one behind a stalled writer, one for a race in between."""

log = logging.getLogger(__name__)


class OffsetLine(NamedTuple):
    """Where a partition stands."""

    next_position: int
    highest_timestamp: int
    """Highest event time below `next_position`, epoch ms; 0 when there was none."""


class PostgresSink:
    """Stores groups of batches, each in one transaction, over one connection.

    Safe to call from several threads; calls that need the connection take turns. Connects when
    first used, and again after the connection was lost.

    Args:
        url: postgresql://user:password@host:5432/name.
        window_seconds: length of the tumbling windows, a divisor of a day.
        writer: names this process; it is seen in pg_stat_activity as `intentloop-<writer>`.
        lock_timeout: seconds to wait for a lock before the session that holds it is ended, if it
            is a writer's, or the group is given back.
        statement_timeout: seconds that one statement may take.
        careful_seconds: for how long after meeting an event that was stored before each group is
            first looked up.
        clock: monotonic time in seconds.
        failpoint: called in every transaction, see `Transaction`.
    """

    def __init__(
        self,
        url: str,
        *,
        window_seconds: int,
        writer: str,
        lock_timeout: float = 3.0,
        statement_timeout: float = 60.0,
        careful_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        failpoint: Failpoint = no_failpoint,
    ) -> None:
        self._url = url
        self._window_seconds = window_seconds
        self._writer = writer
        self._timeouts = Timeouts(lock_timeout, statement_timeout)
        self._careful_seconds = careful_seconds
        self._clock = clock
        self._failpoint = failpoint
        self._careful_until = float("-inf")
        self._encoder = LineEncoder()
        self._suppression = Suppression()
        self._connection: Connection | None = None
        self._turn = threading.Lock()

    @property
    def is_careful(self) -> bool:
        """Whether groups are looked up before they are stored, because of recent duplicates."""
        return self._clock() < self._careful_until

    def encode(self, entries: Iterable[Entry]) -> dict[str, str]:
        """Return the lines that `prepare` begins with, for entries that it will get later."""
        return encode(entries, self._encoder)

    def prepare(self, batches: Sequence[Batch], lines: Mapping[str, str] | None = None) -> Prepared:
        """Do everything that needs no database. Never blocks; about 6 microseconds an event.

        `lines` is what `encode` made of the entries, if it did.
        """
        return prepare(batches, self._window_seconds, self._encoder, lines)

    def store(self, prepared: Prepared) -> Outcome:
        """Store a prepared group, all of it or nothing. Blocks; raises no database error.

        Storing the same group again changes nothing: its positions have passed.
        """
        if not prepared.batches:
            return Stored({})
        try:
            with self._turn:
                return self._store(prepared)
        except psycopg2.Error as error:
            return _given_back(error)

    def lines(
        self, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, OffsetLine] | Unavailable:
        """Return where partitions stand; one that was never stored is absent. Blocks.

        Learns, too, who was erased: see `has_erased`.
        """
        keys = {(p.topic_id, p.partition): p for p in partitions}
        if not keys:
            return {}
        try:
            with self._turn, self._session() as connection, connection.cursor() as cursor:
                self._suppression.learn(cursor)
                cursor.execute(statements.LINES, (tuple(keys),))
                return {keys[row[:2]]: OffsetLine(*row[2:]) for row in cursor}
        except psycopg2.Error as error:
            return Unavailable(describe(error))

    def lines_from(
        self, earliest: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, OffsetLine] | Unavailable:
        """Return where partitions stand, given the `earliest` offset that their log has. Blocks.

        One that is new to the store begins there, which is noted at once: if what comes first is
        lost from a spool, it shows as a gap.
        """
        if not earliest:
            return {}
        try:
            with self._turn, self._session() as connection, connection.cursor() as cursor:
                begin_lines(cursor, earliest, self._writer)
        except psycopg2.Error as error:
            return Unavailable(describe(error))
        return self.lines(earliest)

    def has_erased(self, senders: Iterable[str], at: int) -> bool:
        """Tell whether one of these senders was erased at a time, epoch ms, or later. Never blocks.

        As far as is known from the last group that was stored, or the last look at `lines`.
        """
        return any(self._suppression.list.has_erased(sender, at) for sender in senders)

    def record_loss(self, partition: TopicPartition, next_position: int) -> Unavailable | None:
        """Record that the log no longer has what comes next in a partition, and skip it.

        The partition then stands at `next_position`, unless it stood beyond it already. Blocks.
        """
        try:
            with self._turn, self._session() as connection, connection.cursor() as cursor:
                record_loss(cursor, self._timeouts, partition, next_position, self._writer)
        except psycopg2.Error as error:
            return Unavailable(describe(error))
        return None

    def check_schema(self) -> None:
        """Raise SchemaError unless the schema is this release's, saying what to do. Blocks.

        Raises DatabaseUnavailableError when the database does not answer.
        """
        schema.check_schema(self._url)

    def close(self) -> None:
        """Close the connection."""
        with self._turn:
            if self._connection is not None:
                self._connection.close()

    def _store(self, prepared: Prepared) -> Outcome:
        stalled = False
        for _ in range(_ATTEMPTS):
            try:
                return self._attempt(prepared, stalled=stalled)
            except UniqueViolation as error:
                last: psycopg2.Error = error
                self._careful_until = self._clock() + self._careful_seconds
            except LockNotAvailable as error:
                if stalled:
                    raise
                last, stalled = error, True
            except psycopg2.Error as error:
                if classify(error) is Failure.DATA:
                    return self._refused(error, prepared)
                raise
        raise last

    def _attempt(self, prepared: Prepared, *, stalled: bool) -> Stored | Refused | OutOfTurn:
        with self._session() as connection, self._watch(connection, stalled=stalled):
            transaction = Transaction(
                connection,
                self._writer,
                self._timeouts,
                self._encoder,
                self._suppression,
                self._failpoint,
            )
            return transaction.run(prepared, careful=self.is_careful)

    def _watch(self, connection: Connection, *, stalled: bool) -> AbstractContextManager[None]:
        if not stalled:
            return nullcontext()
        pid = connection.info.backend_pid
        return ending_stalled_writers(self._url, self._writer, pid, self._timeouts.lock)

    def _refused(self, error: psycopg2.Error, prepared: Prepared) -> Outcome:
        with self._session() as connection, connection.cursor() as cursor:
            cursor.execute(statements.BEGIN, self._timeouts.settings())
            refusals = find_refused(cursor, prepared)
        # A dead letter would keep what must not be kept.
        refusals = [r for r in refusals if not self._suppression.list.has(r.entry)]
        if refusals:
            return Refused(tuple(refusals))
        log.error("the database refuses a group, but none of its rows alone: %s", describe(error))
        return Unavailable(describe(error))

    @contextmanager
    def _session(self) -> Iterator[Connection]:
        """Yield the connection; afterwards no transaction is open, or the connection is closed."""
        if self._connection is None or not is_usable(self._connection):
            self._connection = connect(self._url, self._writer)
        connection = self._connection
        try:
            with cutting_when_silent(self._url, connection):
                yield connection
        finally:
            if not is_usable(connection):
                _reset(connection)


def _given_back(error: psycopg2.Error) -> Retry | Unavailable:
    passing = classify(error) is Failure.PASSING
    return Retry(describe(error)) if passing else Unavailable(describe(error))


def _reset(connection: Connection) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("ROLLBACK")
    except psycopg2.Error:
        with suppress(psycopg2.Error):
            connection.close()
