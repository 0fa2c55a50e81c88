"""Where a logger sends to, by what is set; and what is said when that is not usable."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from intentloop_producer import BackendSettings, ConversationLogger, Counts, LoggerSettings
from intentloop_schemas.kafka import KafkaSettings
from support.loggers import Make, delivery_threads, log
from support.shelf import Shelf

pytestmark = pytest.mark.usefixtures("clean_environment")

BROKER = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
BACKEND = {"ADMIN_BACKEND_URL": "http://127.0.0.1:1"}
HTTP = {**BACKEND, "INTENTLOOP_TRANSPORT": "http"}
BOTH = {**BROKER, **BACKEND}
SECRET = "il_hunter2"


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


def test_disabled_there_is_no_thread_and_nothing_is_counted(
    make: Make, shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    before = delivery_threads()
    logger = make(enabled=False)
    assert not log(logger)
    assert logger.flush() == 0
    logger.close()
    assert delivery_threads() == before
    assert logger.counts == Counts(0, 0, 0, 0, 0, 0)
    assert not caplog.messages


def test_without_a_broker_it_warns_once_and_counts(caplog: pytest.LogCaptureFixture) -> None:
    before = delivery_threads()
    logger = ConversationLogger()
    assert [log(logger) for _ in range(3)] == [False] * 3
    assert logger.counts == Counts(0, 0, 0, 0, 3, 0)
    assert delivery_threads() == before
    [message] = caplog.messages
    assert "KAFKA_BOOTSTRAP_SERVERS is not set" in message


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CONFIDENCE_THRESHOLD_FOR_REVIEW", "70"),
        ("BATCH_SIZE", "ten"),
        ("BATCH_SECONDS", "-7.5"),
        ("CONVERSATION_LOGGING_ENABLED", "perhaps"),
        ("INTENTLOOP_QUEUE_SIZE", "-5"),
        ("KAFKA_SECURITY_PROTOCOL", "TLS"),
    ],
)
def test_wrong_settings_are_named_once_and_the_bot_runs_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, variable: str, value: str
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "hunter2")
    monkeypatch.setenv(variable, value)
    logger = ConversationLogger()
    assert not log(logger)
    assert not log(logger)
    logger.close()
    [message] = caplog.messages
    assert f"{variable}: " in message
    assert value not in message.replace(variable, "")
    assert "hunter2" not in message


def test_settings_of_any_type_do_not_stop_a_bot(caplog: pytest.LogCaptureFixture) -> None:
    logger = ConversationLogger("settings", kafka=7)  # type: ignore[arg-type]
    assert not log(logger)
    assert "counted, not logged" in caplog.text


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVERSATION_LOGGING_ENABLED", "false")
    monkeypatch.setenv("INTENTLOOP_TOPIC", "chats")
    monkeypatch.setenv("CONFIDENCE_THRESHOLD_FOR_REVIEW", "0.5")
    monkeypatch.setenv("BATCH_SIZE", "")
    settings = LoggerSettings()
    assert (settings.enabled, settings.topic, settings.confidence_threshold) == (
        False,
        "chats",
        0.5,
    )
    assert settings.batch_size == 10


def test_kafka_settings_hide_the_password() -> None:
    assert "hunter2" not in repr(KafkaSettings(sasl_password="hunter2"))  # type: ignore[arg-type]
