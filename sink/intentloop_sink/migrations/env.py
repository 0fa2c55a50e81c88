"""Alembic runs this; the connection, and the transaction around it, come from the caller."""

from __future__ import annotations

from alembic import context

from intentloop_sink.schema import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
