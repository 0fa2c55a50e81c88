"""Where a logger sends to, by what is set; and what is said when that is not usable."""

from __future__ import annotations

import os
from typing import Any

import pytest
from pydantic import SecretStr

from intentloop_producer import BackendSettings, ConversationLogger, LoggerSettings
from intentloop_schemas.kafka import KafkaSettings

BROKER = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
BACKEND = {"ADMIN_BACKEND_URL": "http://127.0.0.1:1"}
HTTP = {**BACKEND, "INTENTLOOP_TRANSPORT": "http"}
BOTH = {**BROKER, **BACKEND}
SECRET = "il_hunter2"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith(("KAFKA_", "INTENTLOOP_", "ADMIN_")):
            monkeypatch.delenv(name)


def destination(**given: Any) -> str | None:
    delivery = ConversationLogger(**given)._delivery
    return delivery.route.destination if delivery else None


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (BROKER, "Kafka"),
        (BACKEND, "Admin Backend"),
        (BOTH, "Kafka"),
        ({**BOTH, "INTENTLOOP_TRANSPORT": "http"}, "Admin Backend"),
        ({**BOTH, "INTENTLOOP_TRANSPORT": "kafka"}, "Kafka"),
        ({**BROKER, "ADMIN_BACKEND_URL": "no address"}, "Kafka"),
        (
            {**HTTP, "KAFKA_SECURITY_PROTOCOL": "TLS"},
            "Admin Backend",
        ),
        ({**BACKEND, "ADMIN_BACKEND_API_KEY": ""}, "Admin Backend"),
    ],
)
def test_the_way_follows_from_what_is_set(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert destination() == expected


def test_settings_that_are_given_alone_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in BOTH.items():
        monkeypatch.setenv(name, value)
    backend = BackendSettings()
    assert destination(backend=backend) == "Admin Backend"
    assert destination(kafka=KafkaSettings()) == "Kafka"
    assert destination(settings=LoggerSettings(transport="kafka"), backend=backend) == "Kafka"


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({}, "KAFKA_BOOTSTRAP_SERVERS is not set; set it to host:port of a broker, or ADMIN_BACK"),
        ({"INTENTLOOP_TRANSPORT": "http"}, "ADMIN_BACKEND_URL is not set; set it to https://host"),
        ({**BACKEND, "INTENTLOOP_TRANSPORT": "kafka"}, "KAFKA_BOOTSTRAP_SERVERS is not set"),
        ({**BOTH, "INTENTLOOP_TRANSPORT": "pigeon"}, "INTENTLOOP_TRANSPORT: Input should be"),
        ({"ADMIN_BACKEND_URL": "backend:8000"}, "ADMIN_BACKEND_URL: is no address; give it as h"),
        ({"ADMIN_BACKEND_URL": "ftp://backend"}, "ADMIN_BACKEND_URL: is no address"),
        ({"ADMIN_BACKEND_URL": "https://"}, "ADMIN_BACKEND_URL: is no address"),
        ({"ADMIN_BACKEND_URL": "https://host:99999"}, "ADMIN_BACKEND_URL: is no address"),
        ({"ADMIN_BACKEND_URL": "https://ho st"}, "ADMIN_BACKEND_URL: is no address"),
        ({"ADMIN_BACKEND_URL": f"https://u:{SECRET}@host"}, "the key belongs into ADMIN_BACKEND_A"),
        ({"ADMIN_BACKEND_URL": f"https://host?key={SECRET}"}, "ADMIN_BACKEND_URL: holds more than"),
        (
            {**BACKEND, "ADMIN_BACKEND_API_KEY": f"{SECRET}\n"},
            "ADMIN_BACKEND_API_KEY: holds",
        ),
        ({**BACKEND, "ADMIN_BACKEND_API_KEY": f"{SECRET}\u00e9"}, "ADMIN_BACKEND_API_KEY: holds"),
    ],
)
def test_what_is_not_usable_is_said_once_without_its_value_and_the_bot_runs_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    environment: dict[str, str], says: str,
) -> None:  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    logger = ConversationLogger()
    for _ in range(3):
        assert not logger.log(phone_number="1", message_text="a", intent="b", confidence=1.0)
    logger.close()
    assert logger.counts.dropped == 3
    [message] = caplog.messages
    assert says in message
    assert SECRET not in message


def test_the_key_is_hidden_when_settings_are_shown() -> None:
    settings = BackendSettings(url="https://host", api_key=SecretStr(SECRET))
    assert SECRET not in repr(settings) + str(settings)
