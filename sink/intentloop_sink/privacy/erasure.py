"""Erasing senders from the database, so that no replay brings them back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, TextClause, text

from intentloop_sink.catalogue.examples import count_down
from intentloop_sink.catalogue.forgetting import forget_examples
from intentloop_sink.connection import session
from intentloop_sink.privacy.change import outlast_writers, renew
from intentloop_sink.suppression import sender_hash

_NOW = text("SELECT key, clock_timestamp() FROM suppression")
_REMEMBER = text("""
INSERT INTO erased_sender AS e (sender_hash, erased_at) VALUES (:sender_hash, :erased_at)
ON CONFLICT (sender_hash) DO UPDATE SET erased_at = greatest(e.erased_at, excluded.erased_at)
""")
_FIND = text('SELECT id FROM "Example" WHERE sender = ANY(:senders)')
_DELETE = text("""
WITH gone AS (DELETE FROM "Example" WHERE id = ANY(:ids) RETURNING "datasetId")
SELECT "datasetId", count(*) FROM gone GROUP BY "datasetId" ORDER BY "datasetId"
""")
_COUNT = text("""
SELECT "datasetId", count(*) FROM "Example" WHERE sender = ANY(:senders)
GROUP BY "datasetId" ORDER BY "datasetId"
""")


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased: how many examples of each dataset, and up to when nothing comes back."""

    examples: Mapping[str, int]
    at: datetime


def erase_examples(url: str, senders: Collection[str]) -> Erased:
    """Delete all that senders wrote, and refuse from now on what they wrote until now. Blocks.

    Senders are given as they are stored. Statistics stay: they hold nobody's words. It reads the
    whole table once, and holds no writer up for longer than one of their transactions. Running it
    again is safe.

    Raises DatabaseUnavailableError when the database does not answer.
    """
    with session(url, "erase") as connection:
        at = _remember(connection, senders)
    outlast_writers(url)
    with session(url, "erase") as connection:
        ids = connection.execute(_FIND, {"senders": [*senders]}).scalars().all()
        # First, as everywhere: who decides a card locks it before its examples.
        forget_examples(connection, ids)
        rows: Any = connection.execute(_DELETE, {"ids": list(ids)})
        gone: dict[str, int] = dict(rows.all())
        for dataset_id, examples in gone.items():
            count_down(connection, dataset_id, examples, at)
    return Erased(gone, at)


def find_examples(url: str, senders: Collection[str]) -> Mapping[str, int]:
    """Return by dataset how many examples `erase_examples` would delete. Blocks.

    Raises DatabaseUnavailableError when the database does not answer.
    """
    with session(url, "erase") as connection:
        return _by_dataset(connection, _COUNT, senders)


def _remember(connection: Connection, senders: Collection[str]) -> datetime:
    """Put senders on the list; return the time up to which nothing of theirs is taken."""
    key, now = connection.execute(_NOW).one()
    rows = [{"sender_hash": sender_hash(key, s), "erased_at": now} for s in sorted(senders)]
    connection.execute(_REMEMBER, rows)
    renew(connection)
    return now  # type: ignore[no-any-return]  # a timestamptz


def _by_dataset(
    connection: Connection, statement: TextClause, senders: Collection[str]
) -> Mapping[str, int]:
    rows = connection.execute(statement, {"senders": [*senders]})
    return dict(rows.all())
