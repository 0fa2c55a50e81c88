"""Labelled examples, and the snapshot of a dataset that a job works on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from typing import Protocol

from intentloop_schemas.texts import normalise
from intentloop_training.report import Report


@dataclass(frozen=True)
class LabelledExample:
    """A customer's message and what it is taken to mean.

    `intent` is the current label; `predicted_intent` and `confidence`, from 0 to 1, are what the
    NLU said then. `reviewed` tells whether a person has looked at the label; what they found unfit
    for training is `rejected`. `simulated` marks a review that a simulation made. A seed
    (`is_seed`) was taught to bots before they had traffic: no NLU was asked what it means.
    """

    id: str
    text: str
    intent: str
    predicted_intent: str
    confidence: float
    reviewed: bool
    created_at: datetime
    step: str | None = None
    language: str | None = None
    simulated: bool = False
    rejected: bool = False
    is_seed: bool = False

    @cached_property
    def key(self) -> str:
        """The normalised text: examples with the same key are the same text."""
        return normalise(self.text)


@dataclass(frozen=True)
class Snapshot:
    """A dataset as it was at `as_of`: the rows that were committed then, oldest first."""

    dataset_id: str
    as_of: datetime
    rows: tuple[LabelledExample, ...] = field(repr=False)

    @classmethod
    def of(cls, dataset_id: str, as_of: datetime, rows: Iterable[LabelledExample]) -> Snapshot:
        """Return a snapshot whose order does not depend on the order of `rows`."""
        ordered = sorted(rows, key=lambda row: (row.created_at, row.id))
        return cls(dataset_id, as_of, tuple(ordered))

    @property
    def reviewed(self) -> int:
        """How many rows a person has looked at."""
        return sum(row.reviewed for row in self.rows)

    @property
    def messages(self) -> tuple[LabelledExample, ...]:
        """What customers wrote: all rows but the seeds."""
        return tuple(row for row in self.rows if not row.is_seed)

    @cached_property
    def ids_hash(self) -> str:
        """SHA-256 of the rows' ids, sorted, a line each: the same rows, the same hash."""
        return _digest(row.id for row in self.rows)

    @cached_property
    def labels_hash(self) -> str:
        """SHA-256 of ids, labels and what reviewers said: it changes with every review."""
        return _digest(
            f"{row.id}\t{row.intent}\t{row.reviewed}\t{row.rejected}" for row in self.rows
        )


class SnapshotFacts(Report):
    """Which rows of a dataset a job worked on."""

    dataset_id: str
    as_of: datetime
    rows: int
    reviewed: int
    simulated_reviews: int
    seeds: int = 0
    ids_hash: str
    labels_hash: str
    first_created_at: datetime | None
    last_created_at: datetime | None

    @classmethod
    def of(cls, snapshot: Snapshot) -> SnapshotFacts:
        """Describe a snapshot."""
        rows = snapshot.rows
        return cls(
            dataset_id=snapshot.dataset_id,
            as_of=snapshot.as_of,
            rows=len(rows),
            reviewed=snapshot.reviewed,
            simulated_reviews=sum(row.reviewed and row.simulated for row in rows),
            seeds=sum(row.is_seed for row in rows),
            ids_hash=snapshot.ids_hash,
            labels_hash=snapshot.labels_hash,
            first_created_at=rows[0].created_at if rows else None,
            last_created_at=rows[-1].created_at if rows else None,
        )


class Examples(Protocol):
    """Where a dataset's examples come from."""

    def snapshot(self, dataset_id: str) -> Snapshot:
        """Return the dataset as it is now; blocks while it is read.

        A dataset that nobody has written to is empty.
        """
        ...


def _digest(lines: Iterable[str]) -> str:
    return sha256("\n".join(sorted(lines)).encode()).hexdigest()
