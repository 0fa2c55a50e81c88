"""The admin backend's side of the contract: an HTTP server that validates and stores events."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import ValidationError

from intentloop_schemas import Event, LoggerReport, event_identity, explain

KEY = "il_test_0123456789"
BULK = "/api/training/conversations/bulk"
REPORTS = "/api/loggers/reports"
MOST = 1_000


class Reply(NamedTuple):
    """What the server answers; with `status` 0 it closes the connection instead."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = MappingProxyType({})


Act = Callable[["Backend", list[Any]], Reply]
"""Answers a post of conversations in another way than the contract's."""


class Backend:
    """Serves until it is stopped; what it has stored outlives that, and so does its port."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.stored: dict[tuple[str, str, int], Event] = {}
        """By identity, in the order of their first arrival."""
        self.posts: list[int] = []
        """How many items each post of conversations held, also of those that failed."""
        self.reports: list[LoggerReport] = []
        self.headers: list[dict[str, str]] = []
        self.connections = 0
        self.script: deque[Act] = deque()
        """How the next posts of conversations are answered."""
        self.acts: Act | None = None
        """How all others are."""
        self.reports_status = 202
        self._tls = tls
        self._server: _Server | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://localhost:{self.port}"

    def events(self) -> list[Event]:
        return list(self.stored.values())

    def texts(self) -> list[str]:
        return [event.message_text for event in self.stored.values()]

    def start(self) -> None:
        self._server = _Server(self, self.port, self._tls)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """End it and every connection, as a crash would."""
        if self._server:
            self._server.crash()
            self._server = None

    def answer(self, path: str, key: str | None, body: bytes) -> Reply:
        if key != KEY:
            return Reply(401, {"title": "Unauthorized", "detail": "no such key"})
        if path == REPORTS:
            return self._report(body)
        if path != BULK:
            return Reply(404, {"title": "Not Found"})
        items = json.loads(body)["conversations"]
        self.posts.append(len(items))
        act = self.script.popleft() if self.script else self.acts
        return act(self, items) if act else self.take(items)

    def take(self, items: list[Any]) -> Reply:
        """Store what is valid, and answer as the contract says."""
        if not 1 <= len(items) <= MOST:
            return Reply(422, {"title": "Unprocessable", "detail": f"{len(items)} items"})
        errors = []
        for index, item in enumerate(items):
            try:
                event = Event.model_validate(item)
            except ValidationError as error:
                errors.append({"index": index, "error": explain(error)})
            else:
                identity = (event.dataset_id, event_identity(event), event.timestamp)
                self.stored.setdefault(identity, event)
        return self.verdict(len(items), errors)

    def verdict(self, count: int, errors: list[dict[str, Any]]) -> Reply:
        body = {
            "success": not errors,
            "count": count - len(errors),
            "flaggedForReview": 0,
            "datasetId": "ds-auto-training",
        }
        if not errors:
            return Reply(200, body)
        return Reply(207 if len(errors) < count else 422, {**body, "errors": errors})

    def _report(self, body: bytes) -> Reply:
        if self.reports_status == 202:
            self.reports.append(LoggerReport.model_validate_json(body))
        return Reply(self.reports_status, {})


def loses_its_answer(backend: Backend, items: list[Any]) -> Reply:
    """Store everything, and close the connection before anybody learns of it."""
    backend.take(items)
    return Reply(0)


def is_silent(_backend: Backend, _items: list[Any]) -> Reply:
    """Say nothing for a long time."""
    time.sleep(60)
    return Reply(0)


def says(status: int, body: Any = None, **headers: str) -> Act:
    """Return what answers with this, and stores nothing."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _backend, _items: Reply(status, body, named)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, backend: Backend, port: int, tls: ssl.SSLContext | None) -> None:
        self.backend = backend
        self.lines: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    def crash(self) -> None:
        self.shutdown()
        self.server_close()
        for line in list(self.lines):
            try:
                socket.socket.shutdown(line, socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: tests break connections on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.lines.add(self.connection)
        self.server.backend.connections += 1

    def finish(self) -> None:
        self.server.lines.discard(self.connection)
        super().finish()

    def do_POST(self) -> None:
        backend = self.server.backend
        body = self.rfile.read(int(self.headers["Content-Length"]))
        backend.headers.append({name.lower(): value for name, value in self.headers.items()})
        reply = backend.answer(self.path, self.headers["X-API-KEY"], body)
        if not reply.status:
            self.close_connection = True
            return
        data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(data)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
