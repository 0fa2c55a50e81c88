"""The layer that asks for a key, before anything of a request is read."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Collection
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from intentloop_admin.problems import ProblemError, try_later
from intentloop_admin.security.keyring import Keyring, KeysUnknownError
from intentloop_admin.security.keys import Key
from intentloop_admin.security.limiter import Limiter
from intentloop_admin.security.sessions import Session, SessionBook, is_foreign, token_in

HEADER = "X-API-KEY"
_SAFE = frozenset({"GET", "HEAD"})


class Authentication:
    """Lets nobody in without a key, but to the open paths; says who it is in `state["key"]`.

    The key comes as X-API-KEY, or as a bearer token. For the documents in `browsable`, which a
    browser asks for, it may come as the password of Basic authentication, to read them only. Who
    signed in at the pages has a session instead: it opens the pages, and lets the API be read.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keyring: Keyring,
        limiter: Limiter,
        sessions: SessionBook,
        open_paths: Collection[str],
        browsable: Collection[str],
        is_page: Callable[[str], bool],
        refusal: Callable[[Scope, ProblemError], Response],
    ) -> None:
        self._app = app
        self._keyring = keyring
        self._limiter = limiter
        self._sessions = sessions
        self._open_paths = open_paths
        self._browsable = browsable
        self._is_page = is_page
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in self._open_paths:
            await self._app(scope, receive, send)
            return
        limits: dict[str, str] = {}

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(limits)
            await send(message)

        try:
            key = scope["state"]["key"] = await self._key(scope)
            may_go_on, limits = self._limiter.take(key)
            if not may_go_on:
                raise _too_often()
        except ProblemError as error:
            await self._refusal(scope, error)(scope, receive, answer)
        else:
            await self._app(scope, receive, answer)

    async def _key(self, scope: Scope) -> Key:
        can_ask = scope["path"] in self._browsable and scope["method"] in ("GET", "HEAD")
        text = _presented(Headers(scope=scope), basic=can_ask)
        if text is None and (session := await self._session(scope)) is not None:
            return session.key
        if text is None:
            raise _unauthorized(f"Send your key in the header {HEADER}.", basic=can_ask)
        try:
            key = await self._keyring.find(text)
        except KeysUnknownError:
            raise try_later("Keys cannot be looked up: the database is away.") from None
        if key is None:
            raise _unauthorized(
                "This key is not known, or has expired or been revoked; `intentloop keys create` "
                "makes a new one.",
                basic=can_ask,
            )
        return key

    async def _session(self, scope: Scope) -> Session | None:
        token = token_in(scope)
        is_page, is_safe = self._is_page(scope["path"]), scope["method"] in _SAFE
        if token is None or not (is_page or is_safe):
            return None
        if not is_safe and is_foreign(Headers(scope=scope)):
            raise _cross_site()
        try:
            session = await self._sessions.find(token)
        except KeysUnknownError:
            raise try_later("Keys cannot be looked up: the database is away.") from None
        scope["state"]["session"] = session
        return session


def _presented(headers: Headers, *, basic: bool) -> str | None:
    if (text := headers.get(HEADER)) is not None:
        return text
    scheme, _, credentials = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    if basic and scheme.lower() == "basic":
        return _password(credentials)
    return None


def _password(credentials: str) -> str | None:
    try:
        return b64decode(credentials, validate=True).decode().partition(":")[2]
    except ValueError:
        return None


def _unauthorized(detail: str, *, basic: bool) -> ProblemError:
    challenge = 'Basic realm="intentloop: your key is the password"' if basic else "Bearer"
    headers = {"WWW-Authenticate": challenge}
    return ProblemError(HTTPStatus.UNAUTHORIZED, detail, headers=headers)


def _cross_site() -> ProblemError:
    return ProblemError(
        HTTPStatus.FORBIDDEN,
        "This was sent by a page of another site, so nothing was done. Open the page here and "
        "send it again.",
    )


def _too_often() -> ProblemError:
    return ProblemError(
        HTTPStatus.TOO_MANY_REQUESTS,
        "This key asks too often: wait, and send more conversations in each request.",
    )
