"""Who is signed in at the pages: a random token in a cookie, its digest in the store."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import Scope

from intentloop_admin.security.keyring import Keyring
from intentloop_admin.security.keys import Key, digest
from intentloop_admin.stores import Stores
from intentloop_sink.catalogue import CloseSession, OpenSession, StoredSession

LIFETIME = timedelta(hours=12)
"""A working day: nobody is signed in overnight."""
COOKIE = "intentloop_session"
_TOKEN_BYTES = 32
_NAME_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody at a browser."""

    id: str
    """Names the browser to the review queue; it opens nothing."""
    key: Key


class Shelf(Protocol):
    """Keeps sessions. Raises ProblemError when it cannot now."""

    async def put(self, session: StoredSession) -> None:
        """Keep a session."""
        ...

    async def get(self, token_digest: str) -> StoredSession | None:
        """Return a session."""
        ...

    async def drop(self, token_digest: str) -> None:
        """Forget a session."""
        ...


@dataclass(frozen=True)
class TableShelf:
    """Sessions in Postgres: good in every process, and over restarts."""

    stores: Stores

    async def put(self, session: StoredSession) -> None:
        """Keep a session."""
        await self.stores.apply(OpenSession(session=session))

    async def get(self, token_digest: str) -> StoredSession | None:
        """Return a session."""
        return await self.stores.read(lambda c: c.sessions.one(token_digest))

    async def drop(self, token_digest: str) -> None:
        """Forget a session."""
        await self.stores.apply(CloseSession(digest=token_digest))


class MemoryShelf:
    """Sessions in this process, for JSON mode, in which there is one."""

    def __init__(self) -> None:
        self._sessions: dict[str, StoredSession] = {}

    async def put(self, session: StoredSession) -> None:
        """Keep a session, and forget those that have expired."""
        self._sessions = {d: s for d, s in self._sessions.items() if not _has_expired(s)}
        self._sessions[session.digest] = session

    async def get(self, token_digest: str) -> StoredSession | None:
        """Return a session."""
        return self._sessions.get(token_digest)

    async def drop(self, token_digest: str) -> None:
        """Forget a session."""
        self._sessions.pop(token_digest, None)


@dataclass(frozen=True)
class SessionBook:
    """Opens, finds and closes sessions. One lasts no longer than its key."""

    keyring: Keyring
    shelf: Shelf

    async def open(self, key: Key) -> str:
        """Return the token of a new session."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        now = datetime.now(UTC)
        await self.shelf.put(
            StoredSession(
                digest=digest(token),
                key_id=self.keyring.handle(key),
                created_at=now,
                expires_at=now + LIFETIME,
            )
        )
        return token

    async def find(self, token: str) -> Session | None:
        """Return who has a token, None when nobody has, or has no more.

        Raises KeysUnknownError or ProblemError when that cannot be said.
        """
        stored = await self.shelf.get(digest(token))
        if stored is None or _has_expired(stored):
            return None
        key = await self.keyring.resume(stored.key_id)
        return None if key is None else Session(stored.digest[:_NAME_DIGITS], key)

    async def close(self, token: str) -> None:
        """End a session."""
        await self.shelf.drop(digest(token))


def token_in(scope: Scope) -> str | None:
    """Return the token in the cookies of a request."""
    cookies = Headers(scope=scope).get("cookie", "")
    return cookie_parser(cookies).get(COOKIE) or None


def hand_over(response: Response, token: str, *, over_tls: bool) -> None:
    """Put a token into a cookie that no script reads and no other site sends with a form."""
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(LIFETIME.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=over_tls,
    )


def take_back(response: Response) -> None:
    """Remove the cookie."""
    response.delete_cookie(COOKIE, httponly=True, samesite="lax")


def is_foreign(headers: Headers) -> bool:
    """Tell whether a browser sent a request on behalf of another site.

    By Fetch Metadata (W3C) where the browser sends it, else by comparing Origin with Host: the
    defence that OWASP's cheat sheet on CSRF describes. A client that is no browser sends neither,
    and nobody can make it send somebody's cookie.
    """
    if (site := headers.get("sec-fetch-site")) is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host")


def _has_expired(session: StoredSession) -> bool:
    return session.expires_at <= datetime.now(UTC)
