"""An HTTP connection that posts in a thread of its own, one request at a time.

The standard library's client is enough: one connection, kept open, that verifies certificates,
follows no redirect (the key would go with it) and takes no proxy from the environment. The thread
is there because name resolution and a silent server block: whoever posts only looks for answers.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.client import (
    HTTP_PORT,
    HTTPS_PORT,
    HTTPConnection,
    HTTPSConnection,
    IncompleteRead,
    RemoteDisconnected,
)
from queue import Empty, SimpleQueue
from typing import NamedTuple
from urllib.parse import urlsplit

from intentloop_producer.http_answer import Answer

SILENCE_SECONDS = 10.0
"""How long the server may say nothing."""
EXCHANGE_SECONDS = 60.0
"""How long it may take to say everything."""
_MOST_BYTES = 4_000_000

Result = Answer | str
"""An answer, or why there is none."""


class _Request(NamedTuple):
    path: str
    body: bytes


class HttpClient:
    """Posts JSON to one server. Belongs to one thread, and works in another.

    `secret` is what must not show in anything that the server says.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        secret: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._prefix = urlsplit(url).path.rstrip("/")
        self._headers = {"Content-Type": "application/json", **headers}
        self._secret = secret
        self._clock = clock
        self._deadline = float("inf")
        self._has_hung_up = False
        self._connection = _connection(url)
        self._requests: SimpleQueue[_Request | None] = SimpleQueue()
        self._results: SimpleQueue[Result] = SimpleQueue()
        self._has_thread = self._start()

    def post(self, path: str, body: bytes) -> None:
        """Begin to post. The result of the last post must have been taken."""
        request = _Request(path, body)
        self._has_hung_up = False
        self._deadline = self._clock() + EXCHANGE_SECONDS
        if self._has_thread:
            self._requests.put(request)
        else:
            self._results.put(self._result(request))

    def wait(self, seconds: float) -> Result | None:
        """Return the result of the last post, None when there is none within `seconds`."""
        try:
            return self._results.get(timeout=max(0.0, seconds))
        except Empty:
            if self._clock() >= self._deadline:
                self._hang_up()
            return None

    def close(self) -> None:
        """End the thread, whatever it is waiting for. Does not wait for it."""
        self._requests.put(None)
        self._hang_up()

    def _start(self) -> bool:
        """Start the thread; a process that is about to end gives no more of them."""
        thread = threading.Thread(target=self._run, name="conversation-http", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        return True

    def _run(self) -> None:
        while (request := self._requests.get()) is not None:
            self._results.put(self._result(request))
        self._connection.close()

    def _result(self, request: _Request) -> Result:
        try:
            return self._exchange(request)
        except Exception as error:  # noqa: BLE001 - whatever it is, the events have to wait
            return _explained(error)

    def _exchange(self, request: _Request) -> Answer:
        was_open = self._connection.sock is not None
        try:
            return self._send(request)
        except (ConnectionError, ssl.SSLError):
            # The server has closed a connection that was not used for a while: no trouble yet.
            if self._has_hung_up or not was_open:
                raise
            return self._send(request)

    def _send(self, request: _Request) -> Answer:
        connection = self._connection
        try:
            connection.request("POST", self._prefix + request.path, request.body, self._headers)
            response = connection.getresponse()
            body = response.read(_MOST_BYTES)
        except BaseException:
            connection.close()
            raise
        if not response.isclosed():
            connection.close()
        if response.length and len(body) < _MOST_BYTES:
            raise IncompleteRead(body, response.length)
        headers = {name.lower(): self._censored(value) for name, value in response.getheaders()}
        text = self._censored(body.decode(errors="replace"))
        return Answer(response.status, headers, text)

    def _censored(self, text: str) -> str:
        return text.replace(self._secret, "<key>") if self._secret else text

    def _hang_up(self) -> None:
        """Wake the thread from what it is waiting for."""
        self._has_hung_up = True
        if (line := self._connection.sock) is not None:
            with suppress(OSError):
                # Not the TLS socket's own method, which changes it under the thread's hands.
                socket.socket.shutdown(line, socket.SHUT_RDWR)


def _connection(url: str) -> HTTPConnection:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "http":
        return HTTPConnection(host, parts.port or HTTP_PORT, timeout=SILENCE_SECONDS)
    return HTTPSConnection(
        host,
        parts.port or HTTPS_PORT,
        timeout=SILENCE_SECONDS,
        context=ssl.create_default_context(),
    )


def _explained(error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return (
                f"its certificate is not trusted ({error.verify_message}): set SSL_CERT_FILE to a "
                "file with the certificates of its authority"
            )
        case TimeoutError():
            return f"it does not answer within {SILENCE_SECONDS:.0f} s"
        case socket.gaierror():
            return "its name is not known: check ADMIN_BACKEND_URL"
        case RemoteDisconnected() | ConnectionResetError() | BrokenPipeError():
            return "it closed the connection without an answer"
        case _:
            return f"{error or type(error).__name__}"
