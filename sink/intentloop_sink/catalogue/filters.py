"""Which examples are wanted, and where a page of them begins."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NamedTuple

from pydantic import StringConstraints
from sqlalchemy import Boolean, ColumnElement, Table, or_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement, literal

from intentloop_schemas.event import Channel, Confidence, Intent, Label
from intentloop_sink.catalogue.edit import Moment, Words
from intentloop_sink.encoding import NEEDS_REVIEW
from intentloop_sink.tables import example

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

Tag = Annotated[str, StringConstraints(min_length=1, max_length=192, pattern=r"^[^\x00]*$")]
Phrase = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]


class ExampleFilter(Words):
    """Conditions that an example must meet, all of them."""

    tag: Tag | None = None
    """A tag that it has."""
    intent: Intent | None = None
    """Its current label."""
    predicted_intent: Intent | None = None
    """What the model took it for."""
    q: Phrase | None = None
    """Words that its text contains, in any case."""
    min_confidence: Confidence | None = None
    max_confidence: Confidence | None = None
    channel: Channel | None = None
    model_version: Label | None = None
    since: Moment | None = None
    """Not older than this."""
    until: Moment | None = None
    """Older than this."""

    @property
    def is_indexed(self) -> bool:
        """Whether an index leads straight to what is wanted: no row is read in vain."""
        others = self.model_dump(exclude={"tag", "since", "until"}, exclude_none=True)
        return not others and self.tag in (None, NEEDS_REVIEW)

    def in_range(self) -> Iterator[ColumnElement[bool]]:
        """Yield the conditions on time."""
        if self.since is not None:
            yield example.c.createdAt >= self.since
        if self.until is not None:
            yield example.c.createdAt < self.until

    def conditions(self, columns: Any) -> Iterator[ColumnElement[bool]]:
        """Yield the other conditions, on the columns of the table or of a part of it."""
        equal = {
            "intent": self.intent,
            "predictedIntent": self.predicted_intent,
            "channel": self.channel,
            "modelVersion": self.model_version,
        }
        for name, value in equal.items():
            if value is not None:
                yield columns[name] == value
        if self.tag is not None:
            yield has_tag(columns.tags, literal(self.tag))
        if self.q is not None:
            yield columns.input.icontains(self.q, autoescape=True)
        if self.min_confidence is not None:
            yield columns.confidence >= self.min_confidence
        if self.max_confidence is not None:
            yield columns.confidence <= self.max_confidence


class StatisticsFilter(Words):
    """Conditions on statistics; a window counts when it begins in the range of time."""

    intent: Intent | None = None
    """What the model took the messages for."""
    channel: Channel | None = None
    model_version: Label | None = None
    since: Moment | None = None
    until: Moment | None = None

    def conditions(self, table: Table) -> Iterator[ColumnElement[bool]]:
        """Yield the conditions on the columns of a table of statistics."""
        equal = {
            "intent": self.intent,
            "channel": self.channel,
            "model_version": self.model_version,
        }
        for name, value in equal.items():
            if value is not None:
                yield table.c[name] == value
        if self.since is not None:
            yield table.c.window_start >= self.since
        if self.until is not None:
            yield table.c.window_start < self.until


class Cursor(NamedTuple):
    """The example behind which a page begins; pages go from the newest to the oldest."""

    created_at: datetime
    id: str

    def __str__(self) -> str:
        """Return the cursor as it stands in a URL."""
        milliseconds = (self.created_at - _EPOCH) // _MILLISECOND
        return urlsafe_b64encode(f"{milliseconds}:{self.id}".encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read a cursor. Raises ValueError when it is none."""
        decoded = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
        milliseconds, _, example_id = decoded.partition(":")
        if not example_id or "\0" in example_id or not milliseconds.isdecimal():
            raise ValueError("no id")
        try:
            return cls(_EPOCH + int(milliseconds) * _MILLISECOND, example_id)
        except OverflowError as error:
            raise ValueError("no time") from error

    def behind(self) -> ColumnElement[bool]:
        """Return the condition that an example comes behind this one."""
        created_at = example.c.createdAt
        return (created_at <= self.created_at) & or_(
            created_at < self.created_at, example.c.id < self.id
        )


class has_tag(FunctionElement[bool]):  # noqa: N801 - a function of SQL
    """Whether an array of tags contains a tag."""

    type = Boolean()
    inherit_cache = True
    name = "has_tag"


@compiles(has_tag, "postgresql")
def _has_tag_on_postgres(element: has_tag, compiler: SQLCompiler, **options: Any) -> str:
    tags, tag = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{tags} @> ARRAY[{tag}]::text[]"


@compiles(has_tag, "sqlite")
def _has_tag_on_sqlite(element: has_tag, compiler: SQLCompiler, **options: Any) -> str:
    tags, tag = (compiler.process(clause, **options) for clause in element.clauses)
    return f"EXISTS (SELECT 1 FROM json_each({tags}) WHERE value = {tag})"  # noqa: S608 - compiled clauses
