"""Datasets: what they are called, how large they are, and their end."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import StringConstraints
from sqlalchemy import BigInteger, Column, Connection, MetaData, Table, Text, select, text

from intentloop_schemas.event import DatasetId
from intentloop_sink.catalogue.edit import Edit
from intentloop_sink.tables import (
    Instant,
    dataset,
    dataset_counter,
    example,
    ingest_offset,
    intent,
    intent_hourly_stats,
    intent_window_stats,
)

Name = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00]*$")]

# A view: sizes are sums of counters, no row of "Example" is counted.
_dataset_view = Table(
    "Dataset",
    MetaData(),
    Column("id", Text),
    Column("name", Text),
    Column("type", Text),
    Column("size", BigInteger),
    Column("createdAt", Instant),
    Column("updatedAt", Instant),
)


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
        """Return datasets by id, those of `ids` only when given."""
        wanted = select(_dataset_view).order_by(_dataset_view.c.id)
        if ids is not None:
            wanted = wanted.where(_dataset_view.c.id.in_(ids))
        return [Dataset(*row) for row in self.connection.execute(wanted)]

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
        known = select(dataset.c.id).where(dataset.c.id == self.id)
        if connection.execute(known).first():
            return None
        row = {"id": self.id, "name": self.name, "type": self.type}
        connection.execute(dataset.insert().values(**row, created_at=at, updated_at=at))
        return Datasets(connection).one(self.id)


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
        found = connection.execute(example.delete().where(example.c.datasetId == self.id))
        connection.execute(intent.delete().where(intent.c.dataset_id == self.id))
        connection.execute(dataset.delete().where(dataset.c.id == self.id))
        return found.rowcount
