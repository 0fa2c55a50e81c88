"""A road to a real server that can be closed, and that can lose an answer."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit

_CHUNK = 1 << 16


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
        self._sockets: list[socket.socket] = []
        self._closed_road = False
        self._fatal: bytes | None = None
        self.lost = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close_road(self) -> None:
        """Cut every connection and refuse new ones."""
        self._closed_road = True
        for each in self._sockets:
            _cut(each)
        self._sockets.clear()

    def open_road(self) -> None:
        """Let connections through again."""
        self._closed_road = False

    def lose_answer_to(self, text: bytes) -> None:
        """Deliver the next message that ends with `text`, and cut the connection at its answer."""
        self._fatal = text

    def stop(self) -> None:
        self._listener.close()
        self.close_road()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._closed_road:
                    _cut(client)
                    continue
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                losing = threading.Event()
                for target in (self._forward, self._answer):
                    arguments = (client, server, losing)
                    threading.Thread(target=target, args=arguments, daemon=True).start()

    def _forward(
        self, client: socket.socket, server: socket.socket, losing: threading.Event
    ) -> None:
        with suppress(OSError):
            while data := client.recv(_CHUNK):
                if self._fatal is not None and data.rstrip(b"\0").endswith(self._fatal):
                    self._fatal = None
                    losing.set()
                server.sendall(data)
        _cut(client, server)

    def _answer(
        self, client: socket.socket, server: socket.socket, losing: threading.Event
    ) -> None:
        with suppress(OSError):
            while data := server.recv(_CHUNK):
                if losing.is_set():
                    self.lost.set()
                    break
                client.sendall(data)
        _cut(client, server)


def _cut(*sockets: socket.socket) -> None:
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
