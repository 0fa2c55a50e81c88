"""A change to the catalogue, as data: it can be run, and kept in a journal to be run again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

R_co = TypeVar("R_co", covariant=True)


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
