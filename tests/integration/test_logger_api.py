"""The logger and the API that it posts to, together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from pydantic import SecretStr

from intentloop_admin.app import create_app
from intentloop_admin.services import Services
from intentloop_producer import BackendSettings, ConversationLogger, Counts, LoggerSettings
from support import tables
from support.api import ADMIN_KEY, configuration

PATIENCE = 60


@pytest.fixture
def address(database_url: str, tmp_path: Path, eventually: Any) -> Iterator[str]:
    """Where an API on a fresh database listens."""
    services = Services(configuration(database_url, tmp_path / "fallback"))
    config = uvicorn.Config(create_app(services), port=0, log_config=None, lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    eventually(lambda: server.started, PATIENCE)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(PATIENCE)


def logger(address: str, key: str = ADMIN_KEY) -> ConversationLogger:
    backend = BackendSettings(url=address, api_key=SecretStr(key))
    return ConversationLogger(LoggerSettings(), backend=backend)


def log(logger: ConversationLogger, text: str, **more: Any) -> None:
    assert logger.log(
        phone_number="+919876543210",
        message_text=text,
        intent="track_order",
        confidence=0.9,
        **more,
    )


def texts(database_url: str) -> list[str]:
    return sorted(text for (text,) in tables.query(database_url, 'SELECT input FROM "Example"'))


def test_what_a_bot_logs_is_in_the_dataset_once(address: str, database_url: str) -> None:
    with logger(address) as bot:
        for number in range(37):
            log(bot, f"message {number:02}")
        for _ in range(2):
            log(bot, "delivered twice", message_id="wamid.1", timestamp=1_698_345_600_000)
        assert bot.flush(PATIENCE) == 0
    assert bot.counts == Counts(39, 39, 0, 0, 0, 0)
    assert texts(database_url) == ["delivered twice", *(f"message {n:02}" for n in range(37))]


def test_one_that_the_store_refuses_fails_alone(
    address: str, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    same = {"event_id": "mine", "timestamp": 1_698_345_600_000}
    with logger(address) as bot:
        log(bot, "first", **same)
        assert bot.flush(PATIENCE) == 0
        log(bot, "other content", **same)
        log(bot, "another")
        assert bot.flush(PATIENCE) == 0
    assert texts(database_url) == ["another", "first"]
    assert bot.counts == Counts(3, 2, 0, 1, 0, 0)
    assert "Conversations not delivered to Admin Backend: 1." in caplog.text


def test_a_key_that_does_not_exist_is_said(
    address: str, database_url: str, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    bot = logger(address, "a-key-that-nobody-has-made")
    log(bot, "hello")
    assert bot.flush(0.5) == 1
    eventually(lambda: "check ADMIN_BACKEND_API_KEY" in caplog.text)
    bot.close(0.1)
    assert texts(database_url) == []
