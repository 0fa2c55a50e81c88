"""`intentloop nlu serve`: Rasa's HTTP API, and a new model without a dropped request."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from intentloop_devstack.ports import free_port
from intentloop_producer import ConversationLogger
from intentloop_schemas.kafka import KafkaSettings
from intentloop_training.corpora import Labelled, lessons
from intentloop_training.model import IntentModel
from intentloop_training.parameters import Parameters
from intentloop_training.registry import ModelRegistry
from intentloop_training.serving import script
from intentloop_training.trainer import train
from support.lessons import DATASET, some_utterances
from support.topic_reader import read_events

TAUGHT = lessons(Labelled(one.text, one.intent) for one in some_utterances())


@pytest.fixture(scope="module")
def models() -> list[IntentModel]:
    return [train(TAUGHT, Parameters(), version).model for version in ("v1", "v2")]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, models: list[IntentModel]) -> ModelRegistry:
    registry = ModelRegistry(tmp_path_factory.mktemp("models"), DATASET)
    for model in models:
        with registry.adding(model.version) as folder:
            model.save(folder)
    return registry


@pytest.fixture(scope="module")
def server(registry: ModelRegistry, eventually: Any) -> Iterator[httpx.Client]:
    port = free_port()
    folder = registry.folder_of("v1").parents[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "intentloop_cli", "nlu", "serve"],
        env={
            **os.environ,
            "INTENTLOOP_MODELS_DIR": str(folder),
            "INTENTLOOP_NLU_DATASET": DATASET,
            "INTENTLOOP_NLU_PORT": str(port),
            "INTENTLOOP_NLU_RELOAD_SECONDS": "0.05",
        },
    )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        try:
            eventually(lambda: answers(client), 120)
            yield client
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) in (0, -signal.SIGTERM)
        finally:
            process.kill()
            process.wait()


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/").is_success
    except httpx.TransportError:
        return False


def parse(client: httpx.Client, text: str, **more: Any) -> dict[str, Any]:
    response = client.post("/model/parse", json={"text": text, **more})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def promote(registry: ModelRegistry, server: httpx.Client, version: str, eventually: Any) -> None:
    registry.promote(version)
    eventually(lambda: server.get("/status").json()["model_id"] == version, 30)


# The first test: no model is current yet.
def test_without_a_promoted_model_it_says_what_to_do(server: httpx.Client) -> None:
    response = server.post("/model/parse", json={"text": "hello"})

    assert response.status_code == 409
    assert response.json()["reason"] == "Conflict"
    assert "run a training job" in response.json()["message"]
    assert server.get("/status").json()["model_id"] is None


def test_it_answers_as_rasa_does(
    server: httpx.Client, registry: ModelRegistry, models: list[IntentModel], eventually: Any
) -> None:
    promote(registry, server, "v1", eventually)
    [expected] = models[0].parse(["where is my order"])
    body = parse(server, "where is my order", message_id="m-1")

    assert body["text"] == "where is my order"
    assert body["intent"] == {"name": "track_order", "confidence": expected.confidence}
    assert body["intent_ranking"][0] == body["intent"]
    ranking = [guess["confidence"] for guess in body["intent_ranking"]]
    assert ranking == sorted(ranking, reverse=True)
    assert len(ranking) == len(models[0].intents)
    assert body["entities"] == []
    assert body["message_id"] == "m-1"
    assert body["model_version"] == "v1"
    assert server.get("/version").json().keys() == {"version", "minimum_compatible_version"}
    assert server.get("/status").json()["num_active_training_jobs"] == 0
    assert parse(server, "  ")["intent"] == {"name": None, "confidence": 0.0}


@pytest.mark.parametrize(
    "content", [b"{}", b"nonsense", b'{"text": 5}', b'{"text": "' + b"x" * 4097 + b'"}']
)
def test_a_bad_body_is_explained(server: httpx.Client, content: bytes) -> None:
    response = server.post(
        "/model/parse", content=content, headers={"Content-Type": "application/json"}
    )

    assert response.status_code == 400
    assert response.json()["reason"] == "BadRequest"
    assert 'send JSON such as {"text": "Hello"}: body' in response.json()["message"]


def test_a_promotion_and_a_rollback_drop_no_request(
    server: httpx.Client, registry: ModelRegistry, eventually: Any
) -> None:
    promote(registry, server, "v1", eventually)
    is_over = Event()

    def ask() -> list[str]:
        seen = []
        with httpx.Client(base_url=server.base_url, timeout=30) as client:
            while not is_over.is_set():
                seen.append(parse(client, "where is my order")["model_version"])
        return seen

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask) for _ in range(3)]
        try:
            promote(registry, server, "v2", eventually)
            assert registry.roll_back() == "v1"
            eventually(lambda: server.get("/status").json()["model_id"] == "v1", 30)
        finally:
            is_over.set()
        seen = [version for one in asking for version in one.result()]
    assert set(seen) == {"v1", "v2"}


def test_a_model_that_cannot_be_read_leaves_the_old_one_answering(
    server: httpx.Client, registry: ModelRegistry, eventually: Any
) -> None:
    promote(registry, server, "v1", eventually)
    with registry.adding("broken") as folder:
        (folder / "model.json").write_text("{")
    registry.promote("broken")

    assert registry.promotions().current == "broken"
    assert {parse(server, "hello")["model_version"] for _ in range(20)} == {"v1"}
    registry.roll_back()


def test_the_test_script_asks_and_logs(
    server: httpx.Client,
    registry: ModelRegistry,
    kafka: Any,
    topic: str,
    eventually: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    promote(registry, server, "v1", eventually)
    monkeypatch.setenv("INTENTLOOP_TOPIC", topic)
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers)
    with ConversationLogger(kafka=settings) as logger:
        answered = list(script.run(str(server.base_url), logger, script.MESSAGES))
        assert logger.flush(30) == 0
    events = read_events(kafka.bootstrap_servers, topic)

    assert [answer.text for answer in answered] == list(script.MESSAGES)
    assert len(script.MESSAGES) == 10
    assert {event.message_text: event.intent for event in events} == {
        answer.text: answer.intent for answer in answered
    }
    assert {event.model_version for event in events} == {"v1"}
    assert {"track my order", "where is my delivery?", "I need help"} <= set(script.MESSAGES)


def test_the_test_script_says_when_no_nlu_answers(tmp_path: Path) -> None:
    with pytest.raises(script.NluUnavailableError, match=r"no NLU answers at .*/model/parse"):
        script.ask("http://127.0.0.1:1", "hello")
    with pytest.raises(script.NluUnavailableError, match="no address"):
        script.ask(f"file://{tmp_path}", "hello")
