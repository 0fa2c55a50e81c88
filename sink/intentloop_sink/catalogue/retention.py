"""How long datasets keep their examples."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import Field
from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from intentloop_schemas.event import DatasetId
from intentloop_sink.catalogue.edit import Edit
from intentloop_sink.tables import retention

MAX_DAYS = 36_500
Days = Annotated[int, Field(ge=1, le=MAX_DAYS, strict=True)]


@dataclass(frozen=True, slots=True)
class Retention:
    """How long a dataset keeps its examples."""

    dataset_id: str
    days: int | None
    """By event time; None means for ever."""
    horizon: datetime | None
    """What is older was removed, and comes back by no replay; None before the first removal."""


@dataclass(frozen=True)
class Retentions:
    """Questions about retention."""

    connection: Connection

    def all(self) -> list[Retention]:
        """Return every retention that was ever set, by dataset."""
        c = retention.c
        rows = select(c.dataset_id, c.days, c.horizon).order_by(c.dataset_id)
        return [Retention(*row) for row in self.connection.execute(rows)]

    def one(self, dataset_id: str) -> Retention:
        """Return a dataset's retention."""
        found = (each for each in self.all() if each.dataset_id == dataset_id)
        return next(found, Retention(dataset_id, None, None))


class SetRetention(Edit[Retention]):
    """Set how long a dataset keeps its examples. Nothing is removed before it is applied."""

    dataset_id: DatasetId
    days: Days | None

    def run(self, connection: Connection, at: datetime) -> Retention:
        """Insert or update the row; its horizon stays."""
        changes = {"days": self.days, "updated_at": at}
        row = insert(retention).values(dataset_id=self.dataset_id, **changes)
        connection.execute(row.on_conflict_do_update(index_elements=["dataset_id"], set_=changes))
        return Retentions(connection).one(self.dataset_id)
