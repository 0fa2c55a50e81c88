"""Finding the rows that the database refuses, by trying ever smaller parts of a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psycopg2
from psycopg2.errors import UniqueViolation
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

from intentloop_schemas import DeadLetterReason
from intentloop_sink.failures import Failure, classify, describe
from intentloop_sink.outcome import Refusal
from intentloop_sink.prepared import Prepared
from intentloop_sink.transaction import copy_examples, leave_out_known


def find_refused(cursor: Cursor, prepared: Prepared) -> list[Refusal]:
    """Return the entries whose rows fail alone. Runs inside a transaction and leaves nothing in it.

    Raises psycopg2.Error for whatever is not the fault of a row.
    """
    fresh = leave_out_known(cursor, prepared).fresh
    errors = _failing(cursor, prepared, sorted(fresh))
    return [
        Refusal(batch.partition, entry, DeadLetterReason.REFUSED_BY_DATABASE, error)
        for batch in prepared.batches
        for entry in batch.entries
        if (error := errors.get(entry.example_id))
    ]


def _failing(cursor: Cursor, prepared: Prepared, ids: Sequence[str]) -> Mapping[str, str]:
    """Return the error of each id that fails alone."""
    error = _try(cursor, prepared.text(ids))
    if error is None:
        return {}
    if len(ids) > 1:
        middle = len(ids) // 2
        halves = ids[:middle], ids[middle:]
        return {k: v for half in halves for k, v in _failing(cursor, prepared, half).items()}
    # Somebody else has just stored the same event: that is no fault of the row.
    return {} if isinstance(error, UniqueViolation) else {ids[0]: describe(error)}


def _try(cursor: Cursor, payload: bytes) -> psycopg2.Error | None:
    """Return the error of the rows, None when they could be stored."""
    cursor.execute("SAVEPOINT attempt")
    error = None
    try:
        copy_examples(cursor, payload)
    except psycopg2.Error as raised:
        if not isinstance(raised, UniqueViolation) and classify(raised) is not Failure.DATA:
            raise
        error = raised
    cursor.execute("ROLLBACK TO SAVEPOINT attempt")
    return error
