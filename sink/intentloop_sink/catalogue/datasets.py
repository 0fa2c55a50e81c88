"""Datasets: what they are called, how large they are, and their end."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import StringConstraints
from sqlalchemy import Connection, func, select, text

from intentloop_schemas.event import DatasetId
from intentloop_sink.catalogue.edit import Edit, insert_new
from intentloop_sink.catalogue.forgetting import forget_dataset
from intentloop_sink.tables import (
    dataset,
    dataset_counter,
    example,
    ingest_offset,
    intent,
    intent_hourly_stats,
    intent_window_stats,
)

Name = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00]*$")]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset and how many examples it holds."""

    id: str
    name: str
    type: str
    size: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class Datasets:
    """Questions about datasets."""

    connection: Connection

    def all(self, ids: Collection[str] | None = None) -> list[Dataset]:
        """Return datasets by id, those of `ids` only when given.

        Sizes are sums of counters: no example is looked at.
        """
        d, c = dataset.c, dataset_counter.c
        size = func.coalesce(func.sum(c.examples), 0)
        wanted = (
            select(d.id, d.name, d.type, size, d.created_at, d.updated_at, func.max(c.updated_at))
            .outerjoin_from(dataset, dataset_counter, c.dataset_id == d.id)
            .group_by(d.id)
            .order_by(d.id)
        )
        if ids is not None:
            wanted = wanted.where(d.id.in_(ids))
        return [
            Dataset(row[0], row[1], row[2], int(row[3]), row[4], max(filter(None, row[5:])))
            for row in self.connection.execute(wanted)
        ]

    def one(self, dataset_id: str) -> Dataset | None:
        """Return a dataset, None when there is none of that id."""
        found = self.all([dataset_id])
        return found[0] if found else None


class CreateDataset(Edit[Dataset | None]):
    """Create an empty dataset; None when there is one of that id already."""

    id: DatasetId
    name: Name
    type: Annotated[str, StringConstraints(pattern=r"^[a-z]{1,32}$")] = "nlu"

    def run(self, connection: Connection, at: datetime) -> Dataset | None:
        """Insert the row, unless there is one."""
        row = {**self.model_dump(), "created_at": at, "updated_at": at}
        return Datasets(connection).one(self.id) if insert_new(connection, dataset, row) else None


class RenameDataset(Edit[Dataset | None]):
    """Give a dataset another name; None when there is none of that id."""

    id: DatasetId
    name: Name

    def run(self, connection: Connection, at: datetime) -> Dataset | None:
        """Update the row."""
        change = dataset.update().where(dataset.c.id == self.id)
        connection.execute(change.values(name=self.name, updated_at=at))
        return Datasets(connection).one(self.id)


class DeleteDataset(Edit[int]):
    """Delete a dataset, its examples, intents and statistics; return how many examples there were.

    Writers wait meanwhile, so most examples should be gone before. A dataset that traffic still
    comes for begins anew with the next event.
    """

    id: DatasetId

    def run(self, connection: Connection, at: datetime) -> int:  # noqa: ARG002 - every edit has its time
        """Delete the rows."""
        if connection.dialect.name == "postgresql":
            # Whoever stores has a lock on its line of this table.
            connection.execute(text(f"LOCK TABLE {ingest_offset.name} IN EXCLUSIVE MODE"))
            for table in (intent_window_stats, intent_hourly_stats, dataset_counter):
                connection.execute(table.delete().where(table.c.dataset_id == self.id))
        forget_dataset(connection, self.id)
        found = connection.execute(example.delete().where(example.c.datasetId == self.id))
        connection.execute(intent.delete().where(intent.c.dataset_id == self.id))
        connection.execute(dataset.delete().where(dataset.c.id == self.id))
        return found.rowcount
