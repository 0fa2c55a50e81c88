"""How batches are: their sizes, why they were closed, how long until they were committed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

_LINES = 32
"""Partitions and sources that were written to last."""
_ROWS_A_LINE = 100

# From the end of each line backwards: however long it is, only its last rows are read.
_RECENT = text("""
SELECT b.source, b.closed_by, b.batches, b.stored + b.duplicates + b.rejected AS records,
       extract(epoch FROM b.committed_at - b.opened_at)::float8 AS seconds, b.committed_at
FROM (SELECT topic_id, partition FROM ingest_offset ORDER BY updated_at DESC LIMIT :lines) AS o,
LATERAL (
  SELECT * FROM conversation_batch
  WHERE topic_id = o.topic_id AND partition = o.partition
  ORDER BY first_position DESC LIMIT :rows) AS b
ORDER BY b.committed_at DESC
""")

_NEWEST_WINDOW = text("""
SELECT window_start FROM intent_window_stats WHERE dataset_id = :dataset
ORDER BY window_start DESC LIMIT 1
""")


class Commit(NamedTuple):
    """One row of `conversation_batch`."""

    source: str
    closed_by: str
    batches: int
    records: int
    seconds: float
    """From the Kafka timestamp of its first record to its commit."""
    committed_at: datetime


@dataclass(frozen=True, slots=True)
class RecentBatches:
    """The newest commits, the newest first."""

    commits: list[Commit]

    @property
    def records(self) -> int:
        """How many records they hold."""
        return sum(commit.records for commit in self.commits)

    @property
    def batches(self) -> int:
        """In how many batches."""
        return sum(commit.batches for commit in self.commits)

    @property
    def mean_size(self) -> float:
        """Records in a batch."""
        return self.records / self.batches if self.batches else 0.0

    def closed_by(self) -> list[tuple[str, int]]:
        """Return how many batches were closed for which reason, most first."""
        counts: Counter[str] = Counter()
        for commit in self.commits:
            counts[commit.closed_by] += commit.batches
        return counts.most_common()

    def seconds(self, share: float) -> float | None:
        """Return the time to the commit that a share of the commits stayed within."""
        ordered = sorted(commit.seconds for commit in self.commits)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else None


@dataclass(frozen=True)
class Batches:
    """Questions about batches and windows as they were written."""

    connection: Connection

    def recent(self) -> RecentBatches:
        """Return the newest commits of the lines that were written to last."""
        rows = self.connection.execute(_RECENT, {"lines": _LINES, "rows": _ROWS_A_LINE})
        return RecentBatches([Commit(*row) for row in rows])

    def newest_window(self, dataset_id: str) -> datetime | None:
        """Return when the newest window of a dataset begins."""
        found: datetime | None = self.connection.execute(
            _NEWEST_WINDOW, {"dataset": dataset_id}
        ).scalar()
        return found
