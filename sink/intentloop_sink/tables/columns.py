"""What all tables share: the kinds of columns, on Postgres and on the SQLite index of files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Dialect,
    MetaData,
    Text,
    TypeDecorator,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import TypeEngine

metadata = MetaData()

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Instant(TypeDecorator[datetime]):
    """A time with its zone. SQLite, which has none, keeps epoch milliseconds."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type that the database keeps."""
        is_sqlite = dialect.name == "sqlite"
        return dialect.type_descriptor(BigInteger() if is_sqlite else self.impl_instance)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Return what is sent to the database."""
        if value is None or dialect.name != "sqlite":
            return value
        return (value - _EPOCH) // _MILLISECOND

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Return what the database sent."""
        if value is None or dialect.name != "sqlite":
            return value
        return _EPOCH + value * _MILLISECOND


# Compared byte by byte, as SQLite always does: what is looked up or sorted needs no language rules.
KEY_TEXT = Text(collation="C").with_variant(Text(), "sqlite")
TEXTS = ARRAY(Text).with_variant(JSON(), "sqlite")
JSON_VALUE = JSONB().with_variant(JSON(none_as_null=True), "sqlite")
TIME = Instant()


def updated_at() -> Column[object]:
    """Return the column that says when a row was last written."""
    return Column("updated_at", TIME, nullable=False, server_default=func.now())
