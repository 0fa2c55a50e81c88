"""Intents: what people say about them, and what they are called."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, StringConstraints
from sqlalchemy import Connection, func, select

from intentloop_schemas.event import DatasetId
from intentloop_schemas.event import Intent as IntentName
from intentloop_sink.catalogue.edit import Edit, insert_new
from intentloop_sink.tables import example, intent, intent_hourly_stats

Description = Annotated[str, StringConstraints(max_length=2_000, pattern=r"^[^\x00]*$")]


@dataclass(frozen=True, slots=True)
class Intent:
    """An intent of a dataset, and how often the model saw it."""

    name: str
    description: str
    predictions: int
    mean_confidence: float | None
    """None when the model never saw it: it is a label that people gave."""


@dataclass(frozen=True)
class Intents:
    """Questions about intents."""

    connection: Connection

    def all(self, dataset_id: str) -> list[Intent]:
        """Return the intents that the model saw or people named, the most frequent first."""
        descriptions = _descriptions(self.connection, dataset_id)
        seen = self._seen(dataset_id)
        never = (0, None)
        names = sorted(seen.keys() | descriptions, key=lambda n: (-seen.get(n, never)[0], n))
        return [Intent(n, descriptions.get(n, ""), *seen.get(n, never)) for n in names]

    def description(self, dataset_id: str, name: str) -> str:
        """Return what people say about an intent; empty when nobody did."""
        return _descriptions(self.connection, dataset_id).get(name, "")

    def _seen(self, dataset_id: str) -> dict[str, tuple[int, float]]:
        c = intent_hourly_stats.c
        sums = select(c.intent, func.sum(c.n), func.sum(c.confidence_sum_micros))
        found = self.connection.execute(
            sums.where(c.dataset_id == dataset_id).group_by(c.intent)
        ).all()
        return {name: (int(n), int(micros) / (1e6 * int(n))) for name, n, micros in found}


class DescribeIntent(Edit[None]):
    """Say what an intent means; one that nobody has seen yet becomes known by it."""

    dataset_id: DatasetId
    intent: IntentName
    description: Description

    def run(self, connection: Connection, at: datetime) -> None:
        """Write the row."""
        _describe(connection, self.dataset_id, self.intent, self.description, at)


class Relabel(Edit[int]):
    """Give all examples labelled with some intents another label; return how many there were.

    What the model predicted stays, and so do the statistics. What it predicts from now on keeps its
    name until it is trained anew.
    """

    dataset_id: DatasetId
    intents: list[IntentName] = Field(min_length=1, max_length=100)
    to: IntentName

    def run(self, connection: Connection, at: datetime) -> int:
        """Update the examples and move the descriptions."""
        gone = sorted(set(self.intents) - {self.to})
        c = example.c
        change = example.update().where(c.datasetId == self.dataset_id, c.intent.in_(gone))
        changed = connection.execute(change.values(intent=self.to)).rowcount
        known = _descriptions(connection, self.dataset_id)
        inherited = (known.get(name) for name in (self.to, *self.intents))
        description = next(filter(None, inherited), "")
        described = (intent.c.dataset_id == self.dataset_id, intent.c.name.in_(gone))
        connection.execute(intent.delete().where(*described))
        _describe(connection, self.dataset_id, self.to, description, at)
        return changed


def _descriptions(connection: Connection, dataset_id: str) -> dict[str, str]:
    described = select(intent.c.name, intent.c.description)
    rows: Any = connection.execute(described.where(intent.c.dataset_id == dataset_id))
    return dict(rows.all())


def _describe(
    connection: Connection, dataset_id: str, name: str, description: str, at: datetime
) -> None:
    row = {"dataset_id": dataset_id, "name": name, "description": description, "updated_at": at}
    if not insert_new(connection, intent, row):
        key = (intent.c.dataset_id == dataset_id, intent.c.name == name)
        change = intent.update().where(*key)
        connection.execute(change.values(description=description, updated_at=at))
