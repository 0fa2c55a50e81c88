"""What an error of the database means for the group that was to be stored, by SQLSTATE."""

from __future__ import annotations

import logging
from enum import Enum, auto

import psycopg2

log = logging.getLogger(__name__)


class Failure(Enum):
    """Who is at fault, and so what helps."""

    PASSING = auto()
    """Somebody was in the way: try again."""
    DATA = auto()
    """One of the rows: find it."""
    AWAY = auto()
    """The database: wait for it."""


_PASSING = frozenset(
    {
        "40001",  # serialization failure
        "40P01",  # deadlock
        "23503",  # foreign key
        "25006",  # read-only transaction: a standby about to be promoted
        "55P03",  # lock not available
        "57014",  # query cancelled, statement timeout
    }
)
_DATA = frozenset({"23502", "23514", "54000"})  # not null, check, program limit
_DATA_CLASS = "22"
_AWAY_CLASSES = ("08", "53", "57P")  # connection, resources, shutting down or starting up


def classify(error: psycopg2.Error) -> Failure:
    """Tell what an error means. One that nobody foresaw is logged, and taken for AWAY."""
    code = error.pgcode
    if code in _PASSING:
        return Failure.PASSING
    if code is not None and (code in _DATA or code.startswith(_DATA_CLASS)):
        return Failure.DATA
    if code is not None and not code.startswith(_AWAY_CLASSES):
        log.error("unforeseen database error %s: %s", code, describe(error))
    return Failure.AWAY


def describe(error: psycopg2.Error) -> str:
    """Return the error's message in one line, with its SQLSTATE when the server gave one."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"{lines[0]} (SQLSTATE {error.pgcode})" if error.pgcode else " ".join(lines)
