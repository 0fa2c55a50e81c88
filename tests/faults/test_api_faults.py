"""Posts without end while the database dies and comes back."""

from __future__ import annotations

import json
import signal
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from intentloop_devstack import PostgresServer
from support import tables
from support.api import ADMIN_KEY, BULK, conversation
from support.harm import die
from support.processes import Worker, workers

pytestmark = pytest.mark.fault
CLIENTS = 8
API = (sys.executable, "-m", "intentloop_cli", "api")


@pytest.fixture
def postgres_server(own_postgres: PostgresServer) -> PostgresServer:
    return own_postgres


@dataclass
class Clients:
    """Post numbered conversations, each until it is accepted."""

    port: int
    seen: Counter[int] = field(default_factory=Counter)
    """Answers by status."""
    posted: int = 0
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def post_all(self, posts: int) -> None:
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(self._share, [range(i, posts, CLIENTS) for i in range(CLIENTS)]))

    def _share(self, numbers: range) -> None:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        for number in numbers:
            while not self._post(connection, number):
                pass
            with self._turn:
                self.posted += 1

    def _post(self, connection: HTTPConnection, number: int) -> bool:
        event = conversation(number, eventId=f"e-{number}")
        body = json.dumps({"conversations": [event]})
        connection.request("POST", BULK, body, {"X-API-KEY": ADMIN_KEY})
        answer = connection.getresponse()
        text = answer.read()
        with self._turn:
            self.seen[answer.status] += 1
        if answer.status == 503:
            assert int(answer.headers["Retry-After"]) > 0
            assert json.loads(text)["detail"]
            return False
        assert answer.status == 200, text
        assert json.loads(text)["count"] == 1
        return True


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture
def api(port: int, database_url: str, tmp_path: Path, eventually: Any) -> Iterator[Worker]:
    environment = {
        "DATABASE_URL": database_url,
        "FALLBACK_DIR": str(tmp_path / "fallback"),
        "INTENTLOOP_ADMIN_KEY": ADMIN_KEY,
        "INTENTLOOP_API_PORT": str(port),
        "INTENTLOOP_API_RATE_LIMIT": "0",
    }
    with workers(environment, tmp_path) as start:
        api = start(command=API)
        eventually(lambda: serves(port), 30, "the API serves")
        yield api


def serves(port: int) -> bool:
    try:
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False


@pytest.mark.parametrize(
    ("posts", "deaths"), [(600, 1), pytest.param(10_000, 2, marks=pytest.mark.slow_fault)]
)
def test_the_database_dies_while_clients_post(
    api: Worker,
    port: int,
    own_postgres: PostgresServer,
    database_url: str,
    eventually: Any,
    posts: int,
    deaths: int,
) -> None:
    clients = Clients(port)
    with ThreadPoolExecutor(1) as pool:
        posting = pool.submit(clients.post_all, posts)
        for death in range(1, deaths + 1):
            part = posts * death // (deaths + 1)
            eventually(lambda: clients.posted >= part or posting.done(), 240)  # noqa: B023
            die(own_postgres)
        posting.result(timeout=280)

    assert set(clients.seen) <= {200, 503}
    eventually(lambda: tables.accounted(database_url) >= posts, 60, "all is accounted for")
    rows = tables.query(database_url, 'SELECT count(*), count(DISTINCT "eventId") FROM "Example"')
    assert rows == [(posts, posts)]
    assert tables.query(database_url, "SELECT sum(n) FROM intent_window_stats") == [(posts,)]
    assert tables.query(database_url, "SELECT count(*) FROM conversation_batch_gaps") == [(0,)]
    assert api.says("spooled") or api.says("store_failed")


def test_it_answers_what_is_under_way_before_it_stops(
    api: Worker, port: int, database_url: str
) -> None:
    clients = Clients(port)
    with ThreadPoolExecutor(1) as pool:
        posting = pool.submit(clients.post_all, 200)
        while clients.posted < 50 and not posting.done():
            pass
        assert api.stop() in (0, -signal.SIGTERM)
        assert posting.exception(timeout=60) is not None or clients.posted == 200

    stored = tables.query(database_url, 'SELECT count(*) FROM "Example"')[0][0]
    assert stored >= clients.posted >= 50
    assert tables.query(database_url, "SELECT count(*) FROM conversation_batch_gaps") == [(0,)]
