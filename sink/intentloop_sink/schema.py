"""The version of the database's schema: bringing it up to date, and refusing to work with another.

Versions are those of the migrations in this package.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from psycopg2.errors import UndefinedTable

from intentloop_sink.connection import question, session

if TYPE_CHECKING:
    # Alembic and SQLAlchemy take a second to import, and only migrations need them.
    from alembic.config import Config

VERSION_TABLE = "intentloop_version"
"""A name of its own: the database may hold another application's Alembic versions."""

_MIGRATIONS = Path(__file__).parent / "migrations" / "versions"
_MIGRATION_LOCK = 0x1_47E7_100F
"""Any number that nobody else locks."""


class SchemaError(Exception):
    """The database's schema is not the one that this release works with."""


class SchemaOutdatedError(SchemaError):
    """The schema is older, or not there at all."""


class SchemaTooNewError(SchemaError):
    """The schema was made by a later release."""


def migrate(url: str, version: str = "head") -> str:
    """Bring the schema up to a version and return it. Several at once wait for each other.

    All of it is one transaction. Raises SchemaTooNewError, and DatabaseUnavailableError when the
    database does not answer.
    """
    from alembic import command
    from sqlalchemy import text

    config = _config()
    with session(url, "migrate") as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        _refuse_newer(schema_version(url))
        config.attributes["connection"] = connection
        command.upgrade(config, version)
    return schema_version(url) or ""


def schema_version(url: str) -> str | None:
    """Return the version of the schema, None when there is none.

    Raises DatabaseUnavailableError when the database does not answer.
    """
    try:
        with question(url) as cursor:
            cursor.execute(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608 - a constant
            row = cursor.fetchone()
    except UndefinedTable:
        return None
    return row[0] if row else None


def newest_version() -> str:
    """Return the version that this release needs."""
    return _known_versions()[-1]


def check_schema(url: str) -> None:
    """Raise SchemaOutdatedError or SchemaTooNewError unless the schema is this release's.

    Raises DatabaseUnavailableError when the database does not answer.
    """
    version, newest = schema_version(url), newest_version()
    if version == newest:
        return
    _refuse_newer(version)
    state = f"is at version {version}" if version else "has no intentloop tables"
    raise SchemaOutdatedError(
        f"the database {state}, this release needs version {newest}: run `intentloop migrate`"
    )


def _refuse_newer(version: str | None) -> None:
    if version is not None and version not in _known_versions():
        raise SchemaTooNewError(
            f"the database is at version {version}, this release knows none after "
            f"{newest_version()}: install the release that ran `intentloop migrate` last"
        )


def _known_versions() -> list[str]:
    """Return the versions that migrations lead to, by the names of their files."""
    return sorted(path.stem[1:5] for path in _MIGRATIONS.glob("v*.py"))


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "intentloop_sink:migrations")
    return config
