"""API keys as they are stored: digests, never the keys themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, select

from intentloop_sink.catalogue.edit import Edit, Words
from intentloop_sink.tables import api_key


class StoredKey(Words):
    """What is known of a key, and what it may do."""

    id: str
    name: str
    digest: str
    """SHA-256 of the key, in hex."""
    scopes: list[str]
    datasets: list[str] | None = None
    """The only datasets it is for; None means all."""
    requests_per_minute: int | None = None
    """A limit of its own; None means the usual one."""
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


@dataclass(frozen=True)
class Keys:
    """Questions about keys."""

    connection: Connection

    def all(self) -> list[StoredKey]:
        """Return all keys, the revoked ones too, the oldest first."""
        rows = self.connection.execute(select(api_key).order_by(api_key.c.created_at, api_key.c.id))
        return [StoredKey(**row) for row in rows.mappings()]


class AddKey(Edit[None]):
    """Store a new key."""

    key: StoredKey

    def run(self, connection: Connection, at: datetime) -> None:  # noqa: ARG002 - every edit has its time
        """Insert the row."""
        connection.execute(api_key.insert().values(self.key.model_dump()))


class RevokeKey(Edit[bool]):
    """End a key; tell whether there is one of that id. One that has ended stays as it is."""

    id: str

    def run(self, connection: Connection, at: datetime) -> bool:
        """Update the row."""
        revoked_at = func.coalesce(api_key.c.revoked_at, at)
        change = api_key.update().where(api_key.c.id == self.id).values(revoked_at=revoked_at)
        return connection.execute(change).rowcount > 0


class MarkUsed(Edit[None]):
    """Note when keys were used last."""

    times: Mapping[str, datetime]

    def run(self, connection: Connection, at: datetime) -> None:  # noqa: ARG002 - every edit has its time
        """Update the rows; a later time that is there stays."""
        last = func.greatest(api_key.c.last_used_at, bindparam("time"))
        change = api_key.update().where(api_key.c.id == bindparam("key")).values(last_used_at=last)
        rows = [{"key": key, "time": time} for key, time in sorted(self.times.items())]
        connection.execute(change, rows)
