"""Keys: made of chance, shown once, kept as a digest.

A key is `il_<id>_<secret>`. The secret is 192 random bits, so a plain SHA-256 of it is enough: a
slow hash protects what people choose, and nobody can guess 192 bits, however fast they hash.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from intentloop_admin.security.scopes import Scope
from intentloop_sink.catalogue import StoredKey

PREFIX = "il"
BOOTSTRAP_ID = "bootstrap"
"""Instead of an id: the key of INTENTLOOP_ADMIN_KEY."""
_ID_BYTES = 6
_SECRET_BYTES = 24
_ALL_BUT_PII = frozenset(Scope) - {Scope.PII}


@dataclass(frozen=True, slots=True)
class Key:
    """Who asks."""

    id: str
    scopes: frozenset[Scope]
    datasets: frozenset[str] | None = None
    """The only ones it is for; None means all."""
    requests_per_minute: int | None = None
    name: str = BOOTSTRAP_ID
    """Who it is for."""

    @classmethod
    def of(cls, stored: StoredKey) -> Self:
        """Return what a stored key may do. A right that this release does not know is none."""
        known = frozenset(Scope) & frozenset(stored.scopes)
        datasets = None if stored.datasets is None else frozenset(stored.datasets)
        scopes = frozenset(Scope(s) for s in known)
        return cls(stored.id, scopes, datasets, stored.requests_per_minute, stored.name)

    @classmethod
    def bootstrap(cls) -> Self:
        """Return the key of INTENTLOOP_ADMIN_KEY: it may do everything but see senders."""
        return cls(BOOTSTRAP_ID, _ALL_BUT_PII)

    def may(self, scope: Scope) -> bool:
        """Tell whether it has a right."""
        return scope.is_in(self.scopes)

    def may_use(self, dataset_id: str) -> bool:
        """Tell whether it is for a dataset."""
        return self.datasets is None or dataset_id in self.datasets


def create_key(
    name: str,
    scopes: Iterable[Scope],
    *,
    now: datetime,
    datasets: Sequence[str] | None = None,
    requests_per_minute: int | None = None,
    expires_at: datetime | None = None,
) -> tuple[str, StoredKey]:
    """Return a new key, and what is stored of it."""
    key_id = secrets.token_hex(_ID_BYTES)
    text = f"{PREFIX}_{key_id}_{secrets.token_hex(_SECRET_BYTES)}"
    return text, StoredKey(
        id=key_id,
        name=name,
        digest=digest(text),
        scopes=sorted(set(scopes)),
        datasets=None if datasets is None else sorted(set(datasets)),
        requests_per_minute=requests_per_minute,
        created_at=now,
        expires_at=expires_at,
    )


def digest(text: str) -> str:
    """Return what is stored of a key."""
    return hashlib.sha256(text.encode()).hexdigest()


def matches(text: str, stored_digest: str) -> bool:
    """Tell, in constant time, whether a key is the one of a digest."""
    return hmac.compare_digest(digest(text), stored_digest)


def id_of(text: str) -> str | None:
    """Return the id in a key, None when it has not the form of one."""
    prefix, _, rest = text.partition("_")
    key_id, _, secret = rest.partition("_")
    return key_id if prefix == PREFIX and key_id and secret else None
