"""Keys and sessions."""

from __future__ import annotations

from sqlalchemy import Column, Integer, Table, Text, func

from intentloop_sink.tables.columns import KEY_TEXT, TEXTS, TIME, metadata

# What may be done with the API. The key itself is nowhere, only its digest.
api_key = Table(
    "api_key",
    metadata,
    Column("id", KEY_TEXT, primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("scopes", TEXTS, nullable=False),
    Column("datasets", TEXTS),
    Column("requests_per_minute", Integer),
    Column("created_at", TIME, nullable=False, server_default=func.now()),
    Column("expires_at", TIME),
    Column("revoked_at", TIME),
    Column("last_used_at", TIME),
)

# Who is signed in at the pages. The token itself is nowhere, only its digest.
page_session = Table(
    "page_session",
    metadata,
    Column("digest", KEY_TEXT, primary_key=True),
    Column("key_id", KEY_TEXT, nullable=False),
    Column("created_at", TIME, nullable=False),
    Column("expires_at", TIME, nullable=False),
)
