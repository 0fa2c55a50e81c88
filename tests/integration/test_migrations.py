"""Migrations on a real Postgres: repeatable, safe at once, true to the tables in the code."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from intentloop_sink import (
    DatabaseUnavailableError,
    PostgresSink,
    SchemaOutdatedError,
    SchemaTooNewError,
    check_schema,
    migrate,
    newest_version,
    schema_version,
)
from intentloop_sink.connection import session
from intentloop_sink.schema import VERSION_TABLE
from intentloop_sink.tables import metadata
from support import tables


def test_an_empty_database_becomes_current(empty_database_url: str) -> None:
    assert schema_version(empty_database_url) is None
    assert migrate(empty_database_url) == newest_version()
    assert schema_version(empty_database_url) == newest_version()
    check_schema(empty_database_url)


def test_the_versions_by_file_name_are_those_of_the_migrations() -> None:
    from intentloop_sink.schema import _config, _known_versions

    scripts = ScriptDirectory.from_config(_config())
    assert sorted(s.revision for s in scripts.walk_revisions()) == _known_versions()
    assert scripts.get_current_head() == newest_version()


def test_migrating_again_changes_nothing(empty_database_url: str) -> None:
    migrate(empty_database_url)
    tables.query(empty_database_url, "INSERT INTO dataset (id, name) VALUES ('ds-kept', 'Kept')")
    assert migrate(empty_database_url) == newest_version()
    assert tables.query(empty_database_url, 'SELECT id FROM "Dataset"') == [("ds-kept",)]


def test_several_at_once_wait_for_each_other(empty_database_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        versions = list(pool.map(migrate, [empty_database_url] * 4))
    assert versions == [newest_version()] * 4


def test_the_code_knows_the_tables_as_they_are(empty_database_url: str) -> None:
    migrate(empty_database_url)
    options = {
        "version_table": VERSION_TABLE,
        "compare_type": True,
        "compare_server_default": True,
    }
    with session(empty_database_url, "test") as connection:
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_what_no_comparison_sees_is_alike_too(empty_database_url: str) -> None:
    """Collations, fill factors and checks, in the database and as the code would create them."""
    migrate(empty_database_url)
    migrated = details(empty_database_url)
    tables.query(empty_database_url, "DROP SCHEMA public CASCADE")
    tables.query(empty_database_url, "CREATE SCHEMA public")
    with session(empty_database_url, "test") as connection:
        metadata.create_all(connection)
    assert details(empty_database_url) == migrated


def details(url: str) -> list[tuple[Any, ...]]:
    return tables.query(
        url,
        f"""
        SELECT c.relname, coalesce(a.attname, ''), coalesce(co.collname, ''),
               array_to_string(c.reloptions, ','), pg_get_constraintdef(k.oid),
               pg_get_indexdef(c.oid)
        FROM pg_class c
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
        LEFT JOIN pg_collation co ON co.oid = a.attcollation
        LEFT JOIN pg_constraint k ON k.conrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'i')
          AND c.relname NOT LIKE '{VERSION_TABLE}%'
        ORDER BY 1, 2, 5
        """,
    )


def test_ids_are_compared_byte_by_byte(empty_database_url: str) -> None:
    migrate(empty_database_url)
    collation = """
        SELECT collation_name FROM information_schema.columns
        WHERE table_name = 'Example' AND column_name = 'id'
    """
    assert tables.query(empty_database_url, collation) == [("C",)]


def test_everything_can_be_taken_back(empty_database_url: str) -> None:
    from alembic import command

    from intentloop_sink.schema import _config

    migrate(empty_database_url)
    config = _config()
    with session(empty_database_url, "test") as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    left = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    assert {row[0] for row in tables.query(empty_database_url, left)} <= {
        VERSION_TABLE,
        f"{VERSION_TABLE}_pkc",
    }
    assert migrate(empty_database_url) == newest_version()


def test_a_database_without_tables_is_refused(empty_database_url: str) -> None:
    sink = PostgresSink(empty_database_url, window_seconds=30, writer="w")
    with pytest.raises(
        SchemaOutdatedError, match=r"no intentloop tables.*run `intentloop migrate`"
    ):
        sink.check_schema()


def test_an_older_schema_is_refused_until_migrated(empty_database_url: str) -> None:
    assert migrate(empty_database_url, "0001") == "0001"
    with pytest.raises(SchemaOutdatedError, match=r"at version 0001.*run `intentloop migrate`"):
        check_schema(empty_database_url)
    migrate(empty_database_url)
    check_schema(empty_database_url)


def test_a_schema_of_a_later_release_is_refused(empty_database_url: str) -> None:
    migrate(empty_database_url)
    tables.query(empty_database_url, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    for refuse in (check_schema, migrate):
        with pytest.raises(SchemaTooNewError, match=r"version 9999.*install the release"):
            refuse(empty_database_url)


def test_another_applications_versions_are_left_alone(empty_database_url: str) -> None:
    tables.query(empty_database_url, "CREATE TABLE alembic_version (version_num text)")
    tables.query(empty_database_url, "INSERT INTO alembic_version VALUES ('theirs')")
    migrate(empty_database_url)
    check_schema(empty_database_url)
    assert tables.query(empty_database_url, "TABLE alembic_version") == [("theirs",)]


def test_a_failed_migration_leaves_nothing_behind(empty_database_url: str) -> None:
    tables.query(empty_database_url, "CREATE VIEW intent_hourly AS SELECT 1")
    with pytest.raises(Exception, match="intent_hourly"):
        migrate(empty_database_url)
    assert schema_version(empty_database_url) is None
    assert tables.query(empty_database_url, "SELECT to_regclass('ingest_offset')") == [(None,)]


def test_a_database_that_does_not_answer_is_named_as_such() -> None:
    with pytest.raises(DatabaseUnavailableError, match="does not answer"):
        migrate("postgresql://user:secret@127.0.0.1:1/nowhere")
