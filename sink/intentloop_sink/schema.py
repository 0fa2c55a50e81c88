"""The version of the database's schema: bringing it up to date, and refusing to work with another.

Versions are those of the migrations in this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from intentloop_sink.connection import session

if TYPE_CHECKING:
    # Alembic and SQLAlchemy take half a second to import, and most commands need neither.
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection

VERSION_TABLE = "intentloop_version"
"""A name of its own: the database may hold another application's Alembic versions."""

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
        _refuse_newer(_current(connection))
        config.attributes["connection"] = connection
        command.upgrade(config, version)
        return _current(connection) or ""


def schema_version(url: str) -> str | None:
    """Return the version of the schema, None when there is none.

    Raises DatabaseUnavailableError when the database does not answer.
    """
    with session(url, "reader") as connection:
        return _current(connection)


def newest_version() -> str:
    """Return the version that this release needs."""
    return _scripts().get_current_head() or ""


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
    known = {script.revision for script in _scripts().walk_revisions()}
    if version is not None and version not in known:
        raise SchemaTooNewError(
            f"the database is at version {version}, this release knows none after "
            f"{newest_version()}: install the release that ran `intentloop migrate` last"
        )


def _current(connection: Connection) -> str | None:
    from alembic.runtime.migration import MigrationContext

    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


def _scripts() -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "intentloop_sink:migrations")
    return config
