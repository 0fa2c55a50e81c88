"""Whom the demo's bot asks: the served model when it answers, the start model when it does not."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from intentloop_demo import model
from intentloop_demo.model import PAUSE_SECONDS, Reading, ServedModel, StartModel
from intentloop_training.prediction import Guess, Prediction

GUESS = Prediction("help", 0.5, ())
GOOD = {
    "intent": {"name": "track_order", "confidence": 0.9},
    "intent_ranking": [
        {"name": "track_order", "confidence": 0.9},
        {"name": "help", "confidence": 0.06},
    ],
    "model_version": "nlu-1",
}
SERVED = Reading(Prediction("track_order", 0.9, (Guess("help", 0.06),)), "nlu-1")
STARTED = Reading(GUESS, "shop-1")


class Server:
    """Answers `replies` in turn, and goes on with the last; None keeps the bot waiting."""

    def __init__(self) -> None:
        self.replies: list[tuple[int, Any] | None] = [(200, GOOD)]
        self.asked: list[str] = []
        self.ends = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.asked.append(body["text"])
                reply = server.replies.pop(0) if len(server.replies) > 1 else server.replies[0]
                if reply is None:
                    server.ends.wait(30)
                    return
                self.send_response(reply[0])
                self.end_headers()
                self.wfile.write(json.dumps(reply[1]).encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.ends.set()
        self.http.shutdown()
        self.http.server_close()


class Classifier:
    def classify(self, texts: list[str]) -> list[Prediction]:
        return [GUESS for _ in texts]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def served(server: Server, clock: Clock) -> ServedModel:
    classifier: Any = Classifier()
    return ServedModel(server.url, StartModel(classifier, "shop-1"), clock=clock)


def test_the_served_model_answers_with_its_version_and_other_guesses(
    served: ServedModel, server: Server
) -> None:
    assert served.read(["where is it", "my order"]) == [SERVED, SERVED]
    assert server.asked == ["where is it", "my order"]


@pytest.mark.parametrize(
    "reply",
    [
        (409, {"reason": "no model has been promoted yet"}),
        (500, {}),
        (200, {"no": "intent"}),
        (200, ["not", "Rasa"]),
    ],
)
def test_the_start_model_answers_when_there_is_no_good_answer(
    served: ServedModel, server: Server, reply: tuple[int, Any]
) -> None:
    server.replies = [(200, GOOD), reply]

    assert served.read(["a", "b", "c"]) == [SERVED, STARTED, STARTED]


def test_the_start_model_answers_when_nobody_listens(server: Server, served: ServedModel) -> None:
    server.stop()

    assert served.read(["a"]) == [STARTED]


def test_a_customer_waits_for_a_slow_server_only_once(
    served: ServedModel, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "TIMEOUT_SECONDS", 0.05)
    server.replies = [None]

    assert served.read(["a", "b"]) == [STARTED, STARTED]
    assert served.read(["c"]) == [STARTED]
    assert server.asked == ["a"]


def test_a_server_that_is_back_answers_again(
    served: ServedModel, server: Server, clock: Clock
) -> None:
    server.replies = [(500, {}), (200, GOOD)]
    assert served.read(["a"]) == [STARTED]

    clock.now += PAUSE_SECONDS - 0.1
    assert served.read(["b"]) == [STARTED]
    clock.now += 0.2
    assert served.read(["c"]) == [SERVED]
