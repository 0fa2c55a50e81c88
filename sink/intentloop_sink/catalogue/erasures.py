"""Erased senders where there is no Postgres: what files have to know of them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func
from sqlalchemy.dialects.sqlite import insert

from intentloop_sink.catalogue.edit import Edit
from intentloop_sink.tables import erased_sender, suppression


class RememberErased(Edit[None]):
    """Take nothing more of what senders wrote until now. They are known by their hashes alone."""

    key: str
    """What they were hashed with, the same for all of a folder."""
    hashes: list[str]

    def run(self, connection: Connection, at: datetime) -> None:
        """Insert the rows."""
        if connection.execute(suppression.select()).first() is None:
            connection.execute(suppression.insert().values(version=1, key=self.key))
        for sender_hash in self.hashes:
            row = insert(erased_sender).values(sender_hash=sender_hash, erased_at=at)
            latest = func.max(erased_sender.c.erased_at, row.excluded.erased_at)
            changed = row.on_conflict_do_update(
                index_elements=["sender_hash"], set_={"erased_at": latest}
            )
            connection.execute(changed)
