"""The example bots: a webhook that comes twice is one message."""

from __future__ import annotations

import base64
import hmac
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from intentloop_schemas import example_id
from support import tables
from support.processes import StartWorker
from support.topic_reader import read_events

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
WEBHOOKS = ROOT / "tests" / "fixtures" / "webhooks"
SECRET = "a secret of this test"


@dataclass
class Case:
    """One platform: its recorded request, and the event that it stands for."""

    path: str
    body: bytes
    event: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)

    def post(self, bot: ModuleType, headers: dict[str, str]) -> Response:
        client = TestClient(bot.app)
        json_body = {"Content-Type": "application/json"}
        return client.post(self.path, content=self.body, headers={**json_body, **headers})


def recorded(name: str) -> bytes:
    return (WEBHOOKS / name).read_bytes()


def whatsapp() -> Case:
    body = recorded("whatsapp.json")
    signature = hmac.digest(SECRET.encode(), body, "sha256").hex()
    event = {
        "channel": "whatsapp",
        "phone_number": "+15550123",
        "message_text": "where is my order?",
        "intent": "track_order",
        "timestamp": 1_767_225_600_000,
    }
    return Case("/webhook", body, event, {"X-Hub-Signature-256": f"sha256={signature}"})


def telegram() -> Case:
    event = {
        "channel": "telegram",
        "phone_number": "5550124",
        "message_text": "panir tikka menu",
        "intent": "order_food",
        "timestamp": 1_767_225_600_000,
        "message_id": "5550124/42",
    }
    headers = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
    return Case("/webhook", recorded("telegram.json"), event, headers)


def web() -> Case:
    event = {
        "channel": "web",
        "phone_number": "b0c4de1f-web-session",
        "message_text": "I need help",
        "intent": "help",
        "timestamp": 1_767_225_600_250,
    }
    return Case("/chat", recorded("web.json"), event)


def rcs() -> Case:
    """Return what Google posts: the message in base64, signed."""
    data = recorded("rcs_message.json")
    signature = base64.b64encode(hmac.digest(SECRET.encode(), data, "sha512")).decode()
    message = {"data": base64.b64encode(data).decode(), "messageId": "1"}
    event = {
        "channel": "rcs",
        "phone_number": "+15550125",
        "message_text": "track my order",
        "intent": "track_order",
        "timestamp": 1_767_225_600_123,
    }
    body = json.dumps({"message": message}).encode()
    return Case("/webhook", body, event, {"X-Goog-Signature": signature})


CASES = {
    "whatsapp_cloud": whatsapp,
    "telegram_bot": telegram,
    "web_chat": web,
    "rcs_business": rcs,
}
SIGNED = [name for name in CASES if name != "web_chat"]


@pytest.fixture
def load(kafka: Any, topic: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
    monkeypatch.setenv("INTENTLOOP_TOPIC", topic)
    for name in ("WHATSAPP_APP_SECRET", "TELEGRAM_SECRET", "RBM_CLIENT_TOKEN"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.syspath_prepend(EXAMPLES)
    loaded: list[ModuleType] = []

    def load(name: str) -> ModuleType:
        sys.modules.pop(name, None)
        loaded.append(importlib.import_module(name))
        return loaded[-1]

    yield load
    for module in loaded:
        module.conversations.close()
        del sys.modules[module.__name__]


@pytest.mark.parametrize("name", CASES)
def test_a_webhook_that_comes_twice_is_one_row(
    kafka: Any, topic: str, load: Callable[[str], Any], name: str
) -> None:
    case, bot = CASES[name](), load(name)
    for _ in range(2):
        answer = case.post(bot, case.headers)
        assert answer.status_code == 200, answer.text
    assert bot.conversations.flush(30) == 0

    events = read_events(kafka.bootstrap_servers, topic)
    assert len(events) == 2
    for event in events:
        assert {name: getattr(event, name) for name in case.event} == case.event
    rows = {example_id(e.dataset_id, str(e.event_id), e.timestamp) for e in events}
    assert len(rows) == 1


def test_every_bot_s_webhook_that_comes_twice_is_one_row_in_postgres(
    kafka: Any,
    conversations: str,
    database_url: str,
    start_worker: StartWorker,
    eventually: Any,
    monkeypatch: pytest.MonkeyPatch,
    load: Callable[[str], Any],
) -> None:
    monkeypatch.setenv("INTENTLOOP_TOPIC", conversations)
    start_worker(BATCH_SECONDS="1")
    for name, case in CASES.items():
        bot, made = load(name), case()
        for _ in range(2):
            assert made.post(bot, made.headers).status_code == 200
        assert bot.conversations.flush(30) == 0

    eventually(lambda: tables.accounted(database_url) == 2 * len(CASES), 60, "both are accounted")
    rows = tables.query(database_url, 'SELECT channel FROM "Example" ORDER BY channel')
    assert rows == [("rcs",), ("telegram",), ("web",), ("whatsapp",)]


@pytest.mark.parametrize("name", SIGNED)
def test_what_the_platform_did_not_sign_is_refused(load: Callable[[str], Any], name: str) -> None:
    case, bot = CASES[name](), load(name)
    assert case.post(bot, dict.fromkeys(case.headers, "forged")).status_code == 401
    assert case.post(bot, {}).status_code == 401
    assert bot.conversations.counts.accepted == 0


def test_what_is_no_message_is_answered_and_not_logged(load: Callable[[str], Any]) -> None:
    bot = load("telegram_bot")
    headers = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
    answer = TestClient(bot.app).post("/webhook", json={"update_id": 1}, headers=headers)
    assert answer.json() == {}
    assert bot.conversations.counts.accepted == 0


@pytest.mark.parametrize("name", CASES)
def test_a_bot_fits_on_a_page(name: str) -> None:
    lines = (EXAMPLES / f"{name}.py").read_text().splitlines()
    assert len(lines) < 30
