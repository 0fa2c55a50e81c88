"""Request bodies: no larger, no slower and no more at a time than can be held."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from intentloop_admin import problems
from intentloop_admin.problems import ProblemError, try_later

MAX_IN_FLIGHT = 8
"""Bodies of the largest size that may be in memory at a time."""
_GZIP = 16 + zlib.MAX_WBITS


@dataclass
class Budget:
    """Bytes of bodies that may be in memory, over all requests."""

    free: int

    def take(self, size: int) -> None:
        """Take room; raises ProblemError when there is none."""
        if size > self.free:
            raise try_later("Too much is being sent at once; try again.", 1)
        self.free -= size


class BodyLimit:
    """Bounds what a client may send, unpacked, and how long it may take to do so.

    A body may be packed with gzip; what unpacks to more than the bound is refused as soon as it
    does, so a bomb costs no more than an honest body.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, seconds: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._budget = Budget(MAX_IN_FLIGHT * max_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            headers = Headers(scope=scope)
            self._refuse_large(headers)
            unpack = _unpacking(headers, self._max_bytes)
            _forget_encoding(scope)
        except ProblemError as error:
            await problems.response(error)(scope, receive, send)
            return
        body = _Body(receive, unpack, self._budget, self._max_bytes, self._seconds)
        try:
            await self._app(scope, body.receive, send)
        finally:
            self._budget.free += body.size

    def _refuse_large(self, headers: Headers) -> None:
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._max_bytes:
            raise _too_large(self._max_bytes)


class _Body:
    """The body of one request on its way in."""

    def __init__(
        self,
        receive: Receive,
        unpack: Callable[[bytes, bool], bytes],
        budget: Budget,
        max_bytes: int,
        seconds: float,
    ) -> None:
        self.size = 0
        self._receive = receive
        self._unpack = unpack
        self._budget = budget
        self._max_bytes = max_bytes
        self._deadline = asyncio.get_running_loop().time() + seconds
        self._ended = False

    async def receive(self) -> Message:
        if self._ended:
            # What comes now is the client's leaving, which may take as long as it likes.
            return await self._receive()
        message = await self._in_time()
        if message["type"] != "http.request":
            return message
        self._ended = not message.get("more_body", False)
        data = self._unpack(message.get("body", b""), self._ended)
        if self.size + len(data) > self._max_bytes:
            raise _too_large(self._max_bytes)
        self._budget.take(len(data))
        self.size += len(data)
        return {"type": "http.request", "body": data, "more_body": not self._ended}

    async def _in_time(self) -> Message:
        try:
            async with asyncio.timeout_at(self._deadline):
                return await self._receive()
        except TimeoutError:
            raise ProblemError(
                HTTPStatus.REQUEST_TIMEOUT, "The body did not arrive in time; send it at once."
            ) from None


def _too_large(max_bytes: int) -> ProblemError:
    return ProblemError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"The body is larger than {max_bytes >> 20} MB; send fewer conversations at a time.",
    )


def _unpacking(headers: Headers, max_bytes: int) -> Callable[[bytes, bool], bytes]:
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding == "identity":
        return lambda data, _: data
    if encoding != "gzip":
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "This Content-Encoding is not understood; send the body as it is, or with gzip.",
            headers={"Accept-Encoding": "gzip, identity"},
        )
    inflater = zlib.decompressobj(_GZIP)

    def unpack(data: bytes, is_last: bool) -> bytes:  # noqa: FBT001 - a callback
        try:
            unpacked = inflater.decompress(data, max_bytes + 1)
        except zlib.error:
            raise _not_gzip() from None
        is_torn = is_last and not inflater.eof and len(unpacked) <= max_bytes
        if is_torn or inflater.unused_data:
            raise _not_gzip()
        return unpacked

    return unpack


def _not_gzip() -> ProblemError:
    return ProblemError(
        HTTPStatus.BAD_REQUEST, "The body is not one stream of gzip, as its Content-Encoding says."
    )


def _forget_encoding(scope: Scope) -> None:
    """Let the headers be those of the unpacked body."""
    headers = MutableHeaders(scope=scope)
    if "content-encoding" in headers:
        del headers["content-encoding"]
        del headers["content-length"]
