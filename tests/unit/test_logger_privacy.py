"""What of customers leaves the bot, lies on its disk and shows in its log, in each mode."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from intentloop_producer import ConversationLogger, LoggerSettings
from intentloop_producer.conversion import message_event_id
from intentloop_schemas import PiiMode
from intentloop_schemas.pii_settings import PiiSettings
from support.shelf import Shelf

PHONE = "+919876543210"
OTHER = "98765 43211"
TEXT = f"I am {PHONE}, call {OTHER} about my order"
KEY = SecretStr("a long random text")
PLAIN = PiiSettings()
MASK = PiiSettings(mode=PiiMode.MASK)
HMAC = PiiSettings(mode=PiiMode.HMAC, key=KEY)
HIDING = [MASK, HMAC]

Make = Callable[..., ConversationLogger]


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def make(shelf: Shelf, caplog: pytest.LogCaptureFixture) -> Iterator[Make]:
    caplog.set_level(logging.INFO, "intentloop.conversation")
    made: list[ConversationLogger] = []

    def make(pii: PiiSettings | None = None, **settings: Any) -> ConversationLogger:
        made.append(ConversationLogger(LoggerSettings(**settings), pii=pii, route=shelf.route()))
        return made[-1]

    yield make
    for logger in made:
        logger.close(0.1)


def log(logger: ConversationLogger, **changes: Any) -> None:
    said = {"phone_number": PHONE, "message_text": TEXT, "intent": "track_order", "confidence": 0.9}
    assert logger.log(**{**said, **changes})


def on_disk(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.rglob("*.jsonl"))


@pytest.mark.parametrize("pii", HIDING, ids=["mask", "hmac"])
def test_no_number_leaves_the_bot_or_lies_on_its_disk(
    make: Make, shelf: Shelf, pii: PiiSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    eventually: Any,
) -> None:  # fmt: skip
    shelf.room.clear()
    logger = make(pii)
    wamid = "wamid.HBgMOTE5ODc2NTQzMjEw"
    log(logger, session_id=PHONE, message_id=wamid, timestamp=1_698_345_600_000)
    eventually(lambda: on_disk(tmp_path))
    written = on_disk(tmp_path)
    shelf.room.set()
    assert logger.flush(10) == 0
    [(key, value)] = shelf.taken
    for place in (written, value.decode(), key.decode(), caplog.text):
        assert "9876543210" not in place
        assert OTHER not in place
        assert "wamid" not in place


@pytest.mark.parametrize("pii", [PLAIN, *HIDING], ids=["plain", "mask", "hmac"])
def test_the_key_is_the_sender_as_it_is_in_the_event(
    make: Make, shelf: Shelf, pii: PiiSettings
) -> None:
    logger = make(pii)
    for sender in (PHONE, "+15550100", PHONE):
        log(logger, phone_number=sender)
    assert logger.flush(10) == 0
    keys = [key.decode() for key, _ in shelf.taken]
    assert keys == [json.loads(value)["phoneNumber"] for _, value in shelf.taken]
    assert keys[0] == keys[2] != keys[1]


def test_masking_comes_after_the_identity_of_a_message(make: Make, shelf: Shelf) -> None:
    message = {"message_id": "wamid.1", "timestamp": 1_698_345_600_000}
    logger = make(MASK)
    log(logger, **message)
    # The two share their mask, and are two messages all the same.
    log(logger, **message, phone_number="+919999993210")
    assert logger.flush(10) == 0
    events = [json.loads(value) for _, value in shelf.taken]
    assert [event["phoneNumber"] for event in events] == ["+91******3210"] * 2
    assert [event["eventId"] for event in events] == [
        message_event_id("whatsapp", sender, "wamid.1") for sender in (PHONE, "+919999993210")
    ]


def test_in_plain_mode_a_key_changes_nothing(make: Make, shelf: Shelf) -> None:
    logger = make(PiiSettings(key=KEY))
    log(logger, message_id="wamid.1", timestamp=1_698_345_600_000)
    assert logger.flush(10) == 0
    event = json.loads(shelf.taken[0][1])
    assert event["eventId"] == message_event_id("whatsapp", PHONE, "wamid.1")
    assert event["messageText"] == TEXT


def test_with_a_key_the_id_of_a_message_cannot_be_reckoned_by_others(
    make: Make, shelf: Shelf
) -> None:
    logger = make(HMAC)
    log(logger, message_id="wamid.1", timestamp=1_698_345_600_000)
    log(logger, message_id="wamid.1", timestamp=1_698_345_600_000)
    assert logger.flush(10) == 0
    first, second = (json.loads(value)["eventId"] for _, value in shelf.taken)
    key = KEY.get_secret_value().encode()
    assert first == second == message_event_id("whatsapp", PHONE, "wamid.1", key)
    assert first != message_event_id("whatsapp", PHONE, "wamid.1")
    assert first == "k1-" + first[3:]
    assert len(first) == 35


@pytest.mark.parametrize("pii", HIDING, ids=["mask", "hmac"])
def test_what_waits_from_before_is_hidden_as_well(
    make: Make, shelf: Shelf, pii: PiiSettings, eventually: Any
) -> None:
    shelf.room.clear()
    plain = make(PLAIN)
    log(plain)
    plain.close(0.1)
    shelf.room.set()
    successor = make(pii)
    eventually(lambda: successor.counts.delivered == 1)
    [(key, value)] = shelf.taken
    assert "9876543210" not in key.decode() + value.decode()
    assert OTHER not in value.decode()


def test_hmac_without_a_key_sends_nothing_says_so_once_and_the_bot_runs_on(
    make: Make, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("INTENTLOOP_PII_MODE", "hmac")
    logger = make()
    assert [logger.log(phone_number=PHONE, message_text="a", intent="b", confidence=1.0)] == [False]
    logger.close()
    assert logger.counts.dropped == 1
    assert shelf.taken == []
    [message] = caplog.messages
    assert "INTENTLOOP_PII_MODE is hmac, but INTENTLOOP_PII_KEY is not set" in message


def test_a_wrong_mode_is_named(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("INTENTLOOP_PII_MODE", "hash")
    make()
    assert "INTENTLOOP_PII_MODE: Input should be 'plain', 'mask' or 'hmac'" in caplog.text


# The bot's log


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [message for message in caplog.messages if message.startswith("Logged")]


def test_in_plain_mode_the_log_shows_forty_characters_and_no_phone_number(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    logger = make()
    log(logger)
    log(logger, message_text="x" * 41)
    assert logger.flush(10) == 0
    assert lines(caplog) == [
        f"Logged: '{shown}'... → intent: track_order, confidence: 90%"
        for shown in ("I am <sender>, call 987****3211 about my", "x" * 40)
    ]


@pytest.mark.parametrize(
    ("pii", "settings"),
    [(PLAIN, {"log_text": False}), (MASK, {}), (HMAC, {}), (MASK, {"log_text": True})],
)
def test_otherwise_it_shows_no_text(
    make: Make, caplog: pytest.LogCaptureFixture, pii: PiiSettings, settings: dict[str, Any]
) -> None:
    logger = make(pii, **settings)
    log(logger, message_text="where is my order?")
    assert logger.flush(10) == 0
    assert lines(caplog) == ["Logged: (text not shown) → intent: track_order, confidence: 90%"]
    assert "order?" not in caplog.text


def test_the_text_can_be_switched_off_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTENTLOOP_LOG_TEXT", "false")
    assert not LoggerSettings().log_text
