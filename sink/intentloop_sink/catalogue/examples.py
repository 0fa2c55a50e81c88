"""Examples: pages of them, and what a review changes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StrictBool
from sqlalchemy import Connection, Row, Select, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert

from intentloop_schemas.event import DatasetId, Intent
from intentloop_schemas.masking import masked
from intentloop_sink.catalogue.edit import Edit, Words
from intentloop_sink.catalogue.filters import Cursor, ExampleFilter, Tag
from intentloop_sink.catalogue.forgetting import forget_examples
from intentloop_sink.encoding import NEEDS_REVIEW
from intentloop_sink.tables import dataset_counter, example

REVIEWED = "reviewed"
REJECTED = "rejected"
"""A tag: reviewed, and not fit for training."""
SIMULATED = "simulated"
"""A tag: reviewed by a simulation."""
MAX_PAGE = 1_000
MAX_SCANNED = 200_000
"""Examples that one page looks at; a filter that few of them meet makes pages shorter."""
MAX_CHANGED = 10_000
"""Examples that one bulk change takes."""
DELETED = "deleted"
"""Instead of a topic's id: the part of the counters that counts downwards."""

SOURCE = "source:"
"""Begins the tag that names the sender."""
_REVIEWS = (NEEDS_REVIEW, REVIEWED, REJECTED, SIMULATED)
"""What one review says and another unsays."""
_OURS = ("confidence:", SOURCE, "timestamp:")
_STREAMED = 1_000


def _free(tag: str) -> str:
    if tag in (NEEDS_REVIEW, REVIEWED) or tag.startswith(_OURS):
        raise ValueError(f"{tag!r} is set by the pipeline: use reviewed, or another tag")
    return tag


FreeTag = Annotated[Tag, AfterValidator(_free)]


@dataclass(frozen=True, slots=True)
class Example:
    """A message, what the model took it for, and what it is labelled as now."""

    id: str
    dataset_id: str
    type: str
    input: str
    intent: str
    tags: list[str]
    created_at: datetime
    event_id: str
    predicted_intent: str
    confidence: float
    review_reasons: list[str]
    sender: str
    channel: str
    language: str | None
    model_version: str
    session_id: str | None
    message_id: str | None
    current_step: str | None
    alternatives: list[dict[str, Any]] | None

    def masked(self) -> Example:
        """Return it with its sender masked, and without ids that may hold one."""
        return replace(
            self,
            sender=masked(self.sender),
            tags=[_masked(tag) for tag in self.tags],
            session_id=None,
            message_id=None,
        )

    @property
    def cursor(self) -> Cursor:
        """Where a page begins that goes on behind this example."""
        return Cursor(self.created_at, self.id)


@dataclass(frozen=True, slots=True)
class Page:
    """Some examples, the newest first, and where the next page begins; None at the end."""

    examples: list[Example]
    next: Cursor | None


@dataclass(frozen=True, slots=True)
class Changed:
    """How many examples a change took, and whether others are left that it would take."""

    count: int
    more: bool


class ExampleChange(Words):
    """What a review does: what is left out stays."""

    intent: Intent | None = None
    """The right label; giving one is a review."""
    reviewed: StrictBool | None = None
    """True: a person has looked at it. False: take that back."""
    add_tags: list[FreeTag] = Field([], max_length=20)
    remove_tags: list[FreeTag] = Field([], max_length=20)

    def applied(self, tags: Sequence[str], *, flagged: bool) -> list[str]:
        """Return the tags of an example after the change; `flagged` when it had review reasons."""
        kept = [tag for tag in tags if tag not in self.remove_tags]
        reviewed = True if self.reviewed is None and self.intent is not None else self.reviewed
        if reviewed is not None:
            kept = [tag for tag in kept if tag not in _REVIEWS]
            kept += [REVIEWED] if reviewed else [NEEDS_REVIEW] if flagged else []
        return list(dict.fromkeys([*kept, *self.add_tags]))


@dataclass(frozen=True)
class Examples:
    """Questions about examples."""

    connection: Connection

    def one(self, dataset_id: str, example_id: str) -> Example | None:
        """Return an example, None when the dataset has none of that id."""
        row = self.connection.execute(_one(dataset_id, example_id)).first()
        return Example(*row) if row else None

    def page(
        self,
        dataset_id: str,
        wanted: ExampleFilter,
        *,
        limit: int,
        before: Cursor | None = None,
        max_scanned: int = MAX_SCANNED,
    ) -> Page:
        """Return up to `limit` examples, the newest first.

        A page ends early, even empty, once `max_scanned` examples were looked at: go on with its
        `next` until there is none.
        """
        everything = _newest(dataset_id, wanted, before)
        if wanted.is_indexed:
            found = self._rows(everything.where(*wanted.conditions(example.c)), limit)
        else:
            scanned = everything.limit(max_scanned).subquery()
            newest = (scanned.c.createdAt.desc(), scanned.c.id.desc())
            sieved = select(scanned).where(*wanted.conditions(scanned.c)).order_by(*newest)
            found = self._rows(sieved, limit)
        examples = [Example(*row) for row in found[:limit]]
        if len(found) > limit:
            return Page(examples, examples[-1].cursor)
        last = None if wanted.is_indexed else self._last_scanned(everything, max_scanned)
        return Page(examples, last)

    def count(self, dataset_id: str, wanted: ExampleFilter) -> int:
        """Return how many examples there are. It looks at each: sizes of datasets need no count."""
        found = _wanted(dataset_id, wanted).with_only_columns(func.count()).order_by(None)
        return self.connection.execute(found).scalar_one()

    def stream(
        self, dataset_id: str, wanted: ExampleFilter, *, by_intent: bool = False
    ) -> Iterator[list[Example]]:
        """Yield all examples as the database sends them, the newest first, or intent by intent."""
        found = _wanted(dataset_id, wanted)
        if by_intent:
            newest = (example.c.createdAt.desc(), example.c.id.desc())
            found = found.order_by(None).order_by(example.c.intent, *newest)
        options = {"yield_per": _STREAMED}
        for rows in self.connection.execute(found, execution_options=options).partitions():
            yield [Example(*row) for row in rows]

    def labels(self, dataset_id: str) -> list[str]:
        """Return the labels that a dataset's examples have now."""
        c = example.c
        found = select(c.intent).distinct().where(c.datasetId == dataset_id).order_by(c.intent)
        return list(self.connection.execute(found).scalars())

    def _rows(self, wanted: Select[Any], limit: int) -> Sequence[Any]:
        return self.connection.execute(wanted.limit(limit + 1)).all()

    def _last_scanned(self, everything: Select[Any], max_scanned: int) -> Cursor | None:
        """Return the last example that was looked at, None when there is nothing behind it."""
        columns = everything.with_only_columns(example.c.createdAt, example.c.id)
        rows = self.connection.execute(columns.offset(max_scanned - 1).limit(2)).all()
        return Cursor(*rows[0]) if len(rows) > 1 else None


class ChangeExample(Edit[Example | None]):
    """Review one example; None when the dataset has none of that id."""

    dataset_id: DatasetId
    id: str
    change: ExampleChange

    def run(self, connection: Connection, at: datetime) -> Example | None:  # noqa: ARG002 - every edit has its time
        """Update the row."""
        row = connection.execute(_one(self.dataset_id, self.id).with_for_update()).first()
        if row is None:
            return None
        _change(connection, [row], self.change)
        return Examples(connection).one(self.dataset_id, self.id)


class BulkChange(Edit[Changed]):
    """Review all examples that meet a filter, at most `limit` of them, the newest first."""

    dataset_id: DatasetId
    filter: ExampleFilter
    change: ExampleChange
    limit: int = Field(MAX_CHANGED, ge=1, le=MAX_CHANGED)

    def run(self, connection: Connection, at: datetime) -> Changed:  # noqa: ARG002 - every edit has its time
        """Update the rows."""
        wanted = _wanted(self.dataset_id, self.filter).limit(self.limit + 1)
        rows = connection.execute(wanted.with_for_update()).all()
        _change(connection, rows[: self.limit], self.change)
        return Changed(len(rows[: self.limit]), more=len(rows) > self.limit)


class ChangeListed(Edit[int]):
    """Review the examples of a list; return how many of them there are."""

    dataset_id: DatasetId
    ids: list[str] = Field(min_length=1, max_length=MAX_PAGE)
    change: ExampleChange

    def run(self, connection: Connection, at: datetime) -> int:  # noqa: ARG002 - every edit has its time
        """Update the rows."""
        wanted = _columns().where(example.c.datasetId == self.dataset_id)
        wanted = wanted.where(example.c.id.in_(self.ids)).order_by(example.c.id)
        rows = connection.execute(wanted.with_for_update()).all()
        _change(connection, rows, self.change)
        return len(rows)


class DeleteExamples(Edit[Changed]):
    """Delete the examples that meet a filter, at most `limit` of them; statistics stay."""

    dataset_id: DatasetId
    filter: ExampleFilter = ExampleFilter()
    limit: int = Field(MAX_CHANGED, ge=1, le=MAX_CHANGED)

    def run(self, connection: Connection, at: datetime) -> Changed:
        """Delete the rows and count them down."""
        wanted = _wanted(self.dataset_id, self.filter).with_only_columns(example.c.id)
        wanted = wanted.limit(self.limit + 1)
        ids = connection.execute(wanted).scalars().all()
        forget_examples(connection, ids[: self.limit])
        deletion = example.delete().where(example.c.id.in_(ids[: self.limit]))
        count = connection.execute(deletion).rowcount
        count_down(connection, self.dataset_id, count, at)
        return Changed(count, more=len(ids) > self.limit)


def count_down(connection: Connection, dataset_id: str, examples: int, at: datetime) -> None:
    """Let the size of a dataset know that examples are gone."""
    # The index of the files counts its rows by itself.
    if connection.dialect.name != "postgresql" or not examples:
        return
    part = {"dataset_id": dataset_id, "topic_id": DELETED, "partition": 0}
    added = insert(dataset_counter).values(**part, examples=-examples, updated_at=at)
    changes = {
        "examples": dataset_counter.c.examples + added.excluded.examples,
        "updated_at": added.excluded.updated_at,
    }
    key = ["dataset_id", "topic_id", "partition"]
    connection.execute(added.on_conflict_do_update(index_elements=key, set_=changes))


def _one(dataset_id: str, example_id: str) -> Select[Any]:
    return _columns().where(example.c.id == example_id, example.c.datasetId == dataset_id)


def newest_examples(dataset_id: str, wanted: ExampleFilter) -> Select[Any]:
    """Return the question for the newest examples of a range of time, whatever else is wanted."""
    return _newest(dataset_id, wanted, None)


def _wanted(dataset_id: str, wanted: ExampleFilter) -> Select[Any]:
    return _newest(dataset_id, wanted, None).where(*wanted.conditions(example.c))


def _newest(dataset_id: str, wanted: ExampleFilter, before: Cursor | None) -> Select[Any]:
    found = _columns().where(example.c.datasetId == dataset_id, *wanted.in_range())
    if before is not None:
        found = found.where(before.behind())
    return found.order_by(example.c.createdAt.desc(), example.c.id.desc())


def _masked(tag: str) -> str:
    return SOURCE + masked(tag.removeprefix(SOURCE)) if tag.startswith(SOURCE) else tag


def _columns() -> Select[Any]:
    c = example.c
    return select(
        c.id,
        c.datasetId,
        c.type,
        c.input,
        c.intent,
        c.tags,
        c.createdAt,
        c.eventId,
        c.predictedIntent,
        c.confidence,
        c.reviewReasons,
        c.sender,
        c.channel,
        c.language,
        c.modelVersion,
        c.sessionId,
        c.messageId,
        c.currentStep,
        c.alternatives,
    )


def _change(connection: Connection, rows: Collection[Row[Any]], change: ExampleChange) -> None:
    if not rows:
        return
    update = example.update().where(example.c.id == bindparam("row")).values(tags=bindparam("new"))
    if change.intent is not None:
        update = update.values(intent=change.intent)
    connection.execute(
        update,
        [
            {"row": row.id, "new": change.applied(row.tags, flagged=bool(row.reviewReasons))}
            for row in rows
        ],
    )
