"""What a bot passes to the logger becomes an event, or is explained."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from intentloop_producer.conversion import (
    NaiveTimestampError,
    message_event_id,
    objection,
    to_event,
    uuid7,
)
from intentloop_producer.intake import Utterance
from intentloop_schemas import Alternative, Event

LOGGED_AT = 1_698_345_600_123
ENTROPY = bytes(range(10))
SENDER = "+919876543210"


def utterance(**changes: Any) -> Utterance:
    nothing: dict[str, Any] = dict.fromkeys(Utterance._fields)
    return Utterance(
        **{
            **nothing,
            "phone_number": SENDER,
            "message_text": "where is my order?",
            "intent": "track_order",
            "confidence": 0.95,
            "logged_at": LOGGED_AT,
            **changes,
        }
    )


def event(**changes: Any) -> Event:
    return to_event(utterance(**changes), ENTROPY)


def test_what_is_not_given_has_the_contract_s_defaults_and_the_time_of_the_call() -> None:
    assert event() == Event(
        phoneNumber=SENDER,
        messageText="where is my order?",
        intent="track_order",
        confidence=0.95,
        timestamp=LOGGED_AT,
        channel="whatsapp",
        datasetId="ds-auto-training",
        eventId=str(uuid7(LOGGED_AT, ENTROPY)),
    )


def test_everything_that_is_given_arrives() -> None:
    given: dict[str, Any] = {
        "current_step": "home",
        "timestamp": 1_698_345_600_000,
        "channel": "telegram",
        "language": "hi",
        "model_version": "2026-01",
        "session_id": "s1",
        "message_id": "4711",
        "alternatives": [Alternative(intent="greet", confidence=0.02)],
        "dataset_id": "ds-hindi",
        "event_id": "mine",
    }
    made = event(**given)
    assert {name: getattr(made, name) for name in given} == given


def test_a_message_id_makes_the_same_event_of_each_delivery() -> None:
    first = event(message_id="wamid.1", timestamp=1_698_345_600_000)
    second = to_event(
        utterance(message_id="wamid.1", timestamp=1_698_345_600_000, logged_at=LOGGED_AT + 5_000),
        bytes(10),
    )
    assert first == second
    assert first.event_id == message_event_id("whatsapp", SENDER, "wamid.1")


def test_an_empty_message_id_identifies_nothing() -> None:
    assert event(message_id="").event_id == str(uuid7(LOGGED_AT, ENTROPY))


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2023, 10, 26, 18, 40, 0, 123_999, tzinfo=UTC),
        datetime(2023, 10, 27, 0, 10, 0, 123_000, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    ],
)
def test_aware_datetimes_are_exact_to_the_millisecond(moment: datetime) -> None:
    assert event(timestamp=moment).timestamp == 1_698_345_600_123


def test_a_datetime_without_a_zone_is_refused_with_advice() -> None:
    given = utterance(timestamp=datetime(2023, 10, 26, 18, 40))  # noqa: DTZ001 - the point
    with pytest.raises(NaiveTimestampError) as caught:
        to_event(given, ENTROPY)
    assert objection(caught.value, given) == (
        "timestamp: a datetime without a time zone; send an aware one or epoch milliseconds"
    )


@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), np.float16(0.5)])
def test_a_softmax_s_numbers_are_numbers(number: Any) -> None:
    made = event(confidence=number, alternatives=({"intent": "greet", "confidence": number},))
    assert made.confidence == 0.5
    assert made.alternatives == [Alternative(intent="greet", confidence=0.5)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"confidence": True}, "confidence: send a number, not a boolean"),
        ({"confidence": "0.9"}, "confidence: send a number, not a string"),
        ({"confidence": None}, "confidence: is required"),
        ({"intent": None}, "intent: is required"),
        ({"message_text": ""}, "message_text: is empty; send at least 1 character"),
        ({"alternatives": "greet"}, "alternatives: send a list, not a string"),
        ({"timestamp": 1_698_345_600}, "looks like seconds"),
        ({"channel": SENDER}, "channel: '<sender>' is not a lower-case word"),
    ],
)
def test_what_is_no_event_is_explained_without_its_sender(
    changes: dict[str, Any], expected: str
) -> None:
    given = utterance(**changes)
    with pytest.raises(ValidationError) as caught:
        to_event(given, ENTROPY)
    said = objection(caught.value, given)
    assert expected in said
    assert SENDER not in said


def test_errors_of_a_bot_s_own_objects_are_named_but_not_quoted() -> None:
    assert objection(KeyError(SENDER), utterance()) == "KeyError"
