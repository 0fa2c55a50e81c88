"""Removing what is past its dataset's retention, so that no replay brings it back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from intentloop_sink.catalogue import CatalogueStore, DeleteExamples, ExampleFilter
from intentloop_sink.connection import session
from intentloop_sink.privacy.change import outlast_writers, renew

# A horizon only ever moves on: what was removed stays away when the days are raised.
_MOVE_HORIZONS = text("""
UPDATE retention
SET horizon = greatest(
      horizon, date_trunc('milliseconds', clock_timestamp()) - days * interval '1 day')
WHERE days IS NOT NULL
""")
_HORIZONS = text("""
SELECT dataset_id, horizon FROM retention WHERE horizon IS NOT NULL ORDER BY dataset_id
""")


@dataclass(frozen=True, slots=True)
class Applied:
    """What the retention of a dataset removed: examples older than `horizon`."""

    dataset_id: str
    horizon: datetime
    examples: int


Progress = Callable[[str, int], None]
"""Called with a dataset and how many of its examples are gone so far."""


def apply_retention(
    url: str, store: CatalogueStore, progress: Progress = lambda _dataset, _gone: None
) -> Iterator[Applied]:
    """Remove examples that are older than their dataset may keep them; statistics stay. Blocks.

    Events that old are refused from now on. Examples go 10,000 to a transaction, so that nobody
    waits for long, and it may be interrupted anywhere and run again. Yields each dataset that has
    or had a retention when it is done.

    Raises DatabaseUnavailableError when the database does not answer.
    """
    with session(url, "retention") as connection:
        horizons = _move_on(connection)
    outlast_writers(url)
    for dataset_id, horizon in horizons.items():
        yield Applied(dataset_id, horizon, _remove(store, dataset_id, horizon, progress))


def _move_on(connection: Connection) -> dict[str, datetime]:
    connection.execute(_MOVE_HORIZONS)
    renew(connection)
    rows = connection.execute(_HORIZONS)
    return dict(rows.all())


def _remove(store: CatalogueStore, dataset_id: str, horizon: datetime, progress: Progress) -> int:
    deletion = DeleteExamples(dataset_id=dataset_id, filter=ExampleFilter(until=horizon))
    examples = 0
    while True:
        step = store.apply(deletion)
        examples += step.count
        progress(dataset_id, examples)
        if not step.more:
            return examples
