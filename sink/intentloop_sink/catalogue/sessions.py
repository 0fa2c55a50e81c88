"""Sessions of people at the pages, as they are stored: digests of their tokens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from intentloop_sink.catalogue.edit import Edit, Words
from intentloop_sink.tables import page_session


class StoredSession(Words):
    """Whose session it is, and until when."""

    digest: str
    """SHA-256 of the token, in hex."""
    key_id: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class Sessions:
    """Questions about sessions."""

    connection: Connection

    def one(self, digest: str) -> StoredSession | None:
        """Return a session, None when there is none, expired or not."""
        wanted = select(page_session).where(page_session.c.digest == digest)
        row = self.connection.execute(wanted).mappings().first()
        return StoredSession.model_validate(dict(row)) if row else None


class OpenSession(Edit[None]):
    """Store a session, and forget those that have expired."""

    session: StoredSession

    def run(self, connection: Connection, at: datetime) -> None:
        """Insert the row."""
        connection.execute(page_session.delete().where(page_session.c.expires_at <= at))
        connection.execute(page_session.insert().values(self.session.model_dump()))


class CloseSession(Edit[None]):
    """Forget a session."""

    digest: str

    def run(self, connection: Connection, at: datetime) -> None:  # noqa: ARG002 - every edit has its time
        """Delete the row."""
        connection.execute(page_session.delete().where(page_session.c.digest == self.digest))
