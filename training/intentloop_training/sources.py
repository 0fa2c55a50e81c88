"""Where examples come from: the database, what stands in for it, or files of one's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, TypeAdapter
from sqlalchemy import select

from intentloop_sink.catalogue import Example, ExampleFilter, FileState
from intentloop_sink.catalogue.examples import REVIEWED
from intentloop_sink.connection import session
from intentloop_sink.review import REJECTED, SIMULATED
from intentloop_sink.tables import example
from intentloop_training.examples import Examples, LabelledExample, Snapshot

_ANY_WINDOW = 30
"""Seconds; nobody asks about windows here."""
_time: TypeAdapter[datetime] = TypeAdapter(AwareDatetime)


class UnreadableExamplesError(Exception):
    """A file of examples holds something else."""


def example_of(row: Mapping[str, Any]) -> LabelledExample:
    """Read an example as the table and the HTTP API have it. Raises KeyError, ValueError."""
    tags = set(row["tags"])
    return LabelledExample(
        id=row["id"],
        text=row["input"],
        intent=row["intent"],
        predicted_intent=row["predictedIntent"],
        confidence=float(row["confidence"]),
        reviewed=REVIEWED in tags,
        simulated=SIMULATED in tags,
        rejected=REJECTED in tags,
        created_at=_time.validate_python(row["createdAt"]),
        step=row.get("currentStep"),
        language=row.get("language"),
    )


class PostgresExamples:
    """The table "Example"."""

    def __init__(self, url: str) -> None:
        self._url = url

    def snapshot(self, dataset_id: str) -> Snapshot:
        """Return the dataset as it is now, in one statement: whole transactions or nothing.

        Raises intentloop_sink.DatabaseUnavailableError.
        """
        columns = example.c
        query = select(
            columns.id,
            columns.input,
            columns.intent,
            columns.tags,
            columns.createdAt,
            columns.predictedIntent,
            columns.confidence,
            columns.language,
            columns.currentStep,
        ).where(columns.datasetId == dataset_id)
        with session(self._url, "training") as connection:
            as_of = connection.exec_driver_sql("SELECT now()").scalar_one()
            rows = connection.execute(query).mappings()
            return Snapshot.of(dataset_id, as_of, (example_of(dict(row)) for row in rows))


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class CatalogueExamples:
    """The files that API and worker keep where there is no database, edits included."""

    folder: Path
    now: Callable[[], datetime] = _utc_now

    def snapshot(self, dataset_id: str) -> Snapshot:
        """Return the dataset as it is now; reads all files. Raises OSError."""
        as_of = self.now()
        with (
            closing(FileState(self.folder, window_seconds=_ANY_WINDOW)) as state,
            state.reading() as catalogue,
        ):
            pages = catalogue.examples.stream(dataset_id, ExampleFilter())
            rows = [_labelled(one) for page in pages for one in page]
        return Snapshot.of(dataset_id, as_of, rows)


@dataclass(frozen=True, slots=True)
class FileExamples:
    """A folder with a file `<dataset>.jsonl` for each dataset: an example as JSON in each line.

    The fields are those of `GET /api/training/datasets/{id}/examples`.
    """

    folder: Path
    now: Callable[[], datetime] = _utc_now

    def snapshot(self, dataset_id: str) -> Snapshot:
        """Return the dataset as it is now. Raises UnreadableExamplesError."""
        path = self.folder / f"{dataset_id}.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        rows = (_read(path, number, line) for number, line in enumerate(lines, 1))
        return Snapshot.of(dataset_id, self.now(), rows)


class SeededExamples:
    """A dataset, and with it what bots were taught before they had traffic.

    A dataset that has an example of a seed's id has the last word.
    """

    def __init__(self, dataset: Examples, seeds: Examples) -> None:
        self._dataset = dataset
        self._seeds = seeds

    def snapshot(self, dataset_id: str) -> Snapshot:
        """Return both as they are now. Raises what either raises."""
        dataset = self._dataset.snapshot(dataset_id)
        known = {row.id for row in dataset.rows}
        seeds = self._seeds.snapshot(dataset_id).rows
        new = (replace(row, is_seed=True) for row in seeds if row.id not in known)
        return Snapshot.of(dataset_id, dataset.as_of, [*dataset.rows, *new])


def _labelled(one: Example) -> LabelledExample:
    return example_of(
        {
            "id": one.id,
            "input": one.input,
            "intent": one.intent,
            "tags": one.tags,
            "createdAt": one.created_at,
            "predictedIntent": one.predicted_intent,
            "confidence": one.confidence,
            "currentStep": one.current_step,
            "language": one.language,
        }
    )


def _read(path: Path, number: int, line: str) -> LabelledExample:
    try:
        return example_of(json.loads(line))
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableExamplesError(f"{path}, line {number}: {error!r}") from error
