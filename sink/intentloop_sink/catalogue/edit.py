"""A change to the catalogue, as data: it can be run, and kept in a journal to be run again."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict
from pydantic.alias_generators import to_camel
from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

R_co = TypeVar("R_co", covariant=True)


def _is_written_out(value: object) -> object:
    """Take no number for a time: nobody could tell seconds from milliseconds."""
    if isinstance(value, datetime) or (isinstance(value, str) and _DATE.match(value)):
        return value
    raise ValueError("write a time as in ISO 8601, such as 2026-03-01T12:00:00Z")


def _in_utc(moment: datetime) -> datetime:
    """Postgres knows no zone sixteen hours away."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of range") from None


Moment = Annotated[AwareDatetime, BeforeValidator(_is_written_out), AfterValidator(_in_utc)]
"""A time, written with its zone."""
_DATE = re.compile(r"\d{4}-\d\d-\d\dT")


class Words(BaseModel):
    """A value of the HTTP API and the journal: names in camel case, nothing unknown."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        frozen=True,
        extra="forbid",
        protected_namespaces=(),
    )


def insert_new(connection: Connection, table: Table, row: Mapping[str, Any]) -> bool:
    """Insert a row unless there is one of its key; tell whether it was inserted."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    return connection.execute(insert(table).values(row).on_conflict_do_nothing()).rowcount > 0


class Edit(Words, ABC, Generic[R_co]):
    """A change whose outcome depends on nothing but itself, its time and the catalogue.

    Running it again on the same catalogue gives the same result, so that a journal of edits can
    be replayed.
    """

    @abstractmethod
    def run(self, connection: Connection, at: datetime) -> R_co:
        """Make the change inside the caller's transaction and return what it came to."""
