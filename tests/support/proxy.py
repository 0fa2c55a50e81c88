"""A road to a real server: it can be closed, lose an answer, or swallow whatever is sent."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_CHUNK = 1 << 16


@dataclass(eq=False)
class _Connection:
    client: socket.socket
    server: socket.socket
    loses_answer: threading.Event = field(default_factory=threading.Event)
    is_hole: threading.Event = field(default_factory=threading.Event)


class Proxy:
    """Forwards connections to the server of `url`; `url` of the proxy leads through it.

    It listens on `port`, or on any free one.
    """

    def __init__(self, url: str, port: int = 0) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname or "127.0.0.1", parts.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", port))
        host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        user = parts.netloc.rpartition("@")[0]
        self.url = parts._replace(netloc=f"{user}@{host}" if user else host).geturl()
        self._connections: list[_Connection] = []
        self._unanswered: list[socket.socket] = []
        self._is_closed = False
        self._swallows = False
        self._fatal: bytes | None = None
        self.lost = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close_road(self) -> None:
        """Cut every connection and refuse new ones."""
        self._is_closed = True
        self._cut_all()

    def swallow(self) -> None:
        """Leave every connection open, and lose what is sent over it, now and ever after.

        Who connects while this lasts gets a connection, and no answer over it.
        """
        self._swallows = True
        for connection in self._connections:
            connection.is_hole.set()

    def open_road(self) -> None:
        """Let new connections through again."""
        self._is_closed = self._swallows = False

    def lose_answer_to(self, text: bytes) -> None:
        """Deliver the next message that ends with `text`, and cut the connection at its answer."""
        self._fatal = text

    def stop(self) -> None:
        self._listener.close()
        self._is_closed = True
        self._cut_all()

    def _cut_all(self) -> None:
        for connection in self._connections:
            _cut(connection.client, connection.server)
        _cut(*self._unanswered)
        self._connections.clear()
        self._unanswered.clear()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._is_closed:
                    _cut(client)
                elif self._swallows:
                    self._unanswered.append(client)
                else:
                    self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._server)
        except OSError:
            _cut(client)
            return
        connection = _Connection(client, server)
        self._connections.append(connection)
        for target in (self._forward, self._answer):
            threading.Thread(target=target, args=(connection,), daemon=True).start()

    def _forward(self, connection: _Connection) -> None:
        with suppress(OSError):
            while data := connection.client.recv(_CHUNK):
                if connection.is_hole.is_set():
                    continue
                if self._fatal is not None and data.rstrip(b"\0").endswith(self._fatal):
                    self._fatal = None
                    connection.loses_answer.set()
                connection.server.sendall(data)
        _cut(connection.client, connection.server)

    def _answer(self, connection: _Connection) -> None:
        with suppress(OSError):
            while data := connection.server.recv(_CHUNK):
                if connection.is_hole.is_set():
                    continue
                if connection.loses_answer.is_set():
                    self.lost.set()
                    break
                connection.client.sendall(data)
        if not connection.is_hole.is_set():
            _cut(connection.client, connection.server)


def _cut(*sockets: socket.socket) -> None:
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
