"""The store of conversations: tables and migrations, the transaction, and queries over them."""

from intentloop_sink.connection import DatabaseUnavailableError
from intentloop_sink.cuts import without
from intentloop_sink.outcome import (
    Outcome,
    OutOfTurn,
    Refusal,
    Refused,
    Retry,
    Stored,
    Unavailable,
)
from intentloop_sink.postgres import OffsetLine, PostgresSink
from intentloop_sink.prepared import Prepared
from intentloop_sink.schema import (
    SchemaError,
    SchemaOutdatedError,
    SchemaTooNewError,
    check_schema,
    migrate,
    newest_version,
    schema_version,
)
from intentloop_sink.settings import DatabaseSettings

__all__ = [
    "DatabaseSettings",
    "DatabaseUnavailableError",
    "OffsetLine",
    "OutOfTurn",
    "Outcome",
    "PostgresSink",
    "Prepared",
    "Refusal",
    "Refused",
    "Retry",
    "SchemaError",
    "SchemaOutdatedError",
    "SchemaTooNewError",
    "Stored",
    "Unavailable",
    "check_schema",
    "migrate",
    "newest_version",
    "schema_version",
    "without",
]
