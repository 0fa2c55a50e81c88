"""What every request gets: an id, security headers, one line in the log, and an answer."""

from __future__ import annotations

import re
import time
import traceback
import uuid
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from intentloop_admin.metrics import Metrics
from intentloop_admin.problems import ProblemError

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

_POLICY = b"content-security-policy"
_SECURITY_HEADERS = (
    (b"cache-control", b"no-store"),
    (_POLICY, b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
_OVER_TLS = {"Strict-Transport-Security": "max-age=31536000"}

log = structlog.get_logger(__name__)


class RequestContext:
    """The outermost layer. A route may set a header of its own instead of these.

    While the database is away answers come from files alone, and say so in `Intentloop-Store`.
    Logs hold the route, never the URL: a query may name a sender.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        policies: Mapping[str, str],
        quiet: Collection[str],
        is_partial: Callable[[], bool],
        refusal: Callable[[Scope, ProblemError], Response],
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._policies = policies
        self._quiet = quiet
        self._is_partial = is_partial
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(MutableHeaders(scope=message), scope)
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, answer)
            except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
                log.error(  # noqa: TRY400 - its words may hold what a customer wrote
                    "request_failed", error=type(error).__name__, trace=_trace(error)
                )
                if not status:
                    await self._refusal(scope, _apology(request_id))(scope, receive, answer)
            finally:
                self._tell(scope, status, time.perf_counter() - started)

    def _add_headers(self, headers: MutableHeaders, scope: Scope) -> None:
        headers["X-Request-ID"] = scope["state"]["request_id"]
        if scope["path"] in self._policies:
            headers.setdefault(_POLICY.decode(), self._policies[scope["path"]])
        if self._is_partial():
            headers["Intentloop-Store"] = "files"
        given = {name for name, _ in headers.raw}
        headers.raw.extend(pair for pair in _SECURITY_HEADERS if pair[0] not in given)
        if scope["scheme"] == "https":
            headers.update(_OVER_TLS)

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        self._metrics.request(scope["method"], route, status, seconds)
        # Probes come every few seconds, and say nothing as long as all is well.
        tell = log.debug if route in self._quiet and status == HTTPStatus.OK else log.info
        tell(
            "request",
            method=scope["method"],
            route=route,
            status=status,
            ms=round(seconds * 1000, 1),
            key=getattr(scope["state"].get("key"), "id", None),
        )


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _apology(request_id: str) -> ProblemError:
    return ProblemError(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        f"Something went wrong here; the server's log says what under {request_id}.",
    )


def _trace(error: BaseException) -> list[str]:
    """Return where an error came from: our own places, and the last one."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames[:-1] if "intentloop_" in frame.filename]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in [*ours, *frames[-1:]]]
