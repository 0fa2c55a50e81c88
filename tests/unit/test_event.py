"""The event contract: what is an event, and what a bot developer is told about what is not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from intentloop_schemas import Event, explain

SEED: dict[str, Any] = {
    "phoneNumber": "+15550100",
    "messageText": "where is my order?",
    "intent": "track_order",
    "confidence": 0.95,
    "currentStep": "home",
    "timestamp": 1_698_345_600_000,
}


def decode(**changes: object) -> Event:
    return Event.model_validate_json(json.dumps({**SEED, **changes}))


def explanation(value: bytes) -> str:
    with pytest.raises(ValidationError) as caught:
        Event.model_validate_json(value)
    return explain(caught.value)


GOOD: dict[str, dict[str, object]] = {
    "no step": {"currentStep": None},
    "longest text": {"messageText": "\N{GRINNING FACE}" * 4096},
    "lines": {"messageText": "first\nsecond\ttab"},
    "confidence as integers": {"confidence": 1},
    "certain": {"confidence": 1.0},
    "clueless": {"confidence": 0},
    "earliest": {"timestamp": 946_684_800_000},
    "latest": {"timestamp": 4_102_444_800_000},
    "another channel": {"channel": "google-business_2"},
    "empty optional text": {"language": "", "sessionId": ""},
    "most alternatives": {"alternatives": [{"intent": "a", "confidence": 0.1}] * 20},
    "unknown fields": {"weather": {"nested": "\0"}},
    "a web session for a sender": {"phoneNumber": "session 4711/ä"},
}


@pytest.mark.parametrize("changes", GOOD.values(), ids=GOOD)
def test_good_values_are_taken(changes: dict[str, object]) -> None:
    event = decode(**changes)
    written = json.loads(event.to_json())
    known = {name: value for name, value in changes.items() if name != "weather"}
    assert {name: written.get(name) for name in known} == known


BAD: dict[str, tuple[dict[str, object], str]] = {
    "sender empty": ({"phoneNumber": ""}, "phoneNumber: is empty; send at least 1 character"),
    "sender long": ({"phoneNumber": "1" * 65}, "phoneNumber: has 65 characters; send at most 64"),
    "sender a number": ({"phoneNumber": 15550100}, "phoneNumber: send a string, not a number"),
    "sender null": ({"phoneNumber": None}, "phoneNumber: send a string, not null"),
    "text empty": ({"messageText": ""}, "messageText: is empty; send at least 1 character"),
    "text long": (
        {"messageText": "x" * 4097},
        "messageText: has 4097 characters; send at most 4096",
    ),
    "text a list": ({"messageText": ["x"]}, "messageText: send a string, not a list"),
    "NUL in text": ({"messageText": "a\0b"}, "messageText: contains a NUL character; remove it"),
    "NUL in sender": ({"phoneNumber": "\0"}, "phoneNumber: contains a NUL character; remove it"),
    "NUL in step": ({"currentStep": "\0"}, "currentStep: contains a NUL character; remove it"),
    "NUL in an alternative": (
        {"alternatives": [{"intent": "\0", "confidence": 0.1}]},
        "alternatives.0.intent: contains a NUL character; remove it",
    ),
    "intent empty": ({"intent": ""}, "intent: is empty; send at least 1 character"),
    "intent long": ({"intent": "x" * 129}, "intent: has 129 characters; send at most 128"),
    "confidence text": ({"confidence": "0.9"}, "confidence: send a number, not a string"),
    "confidence boolean": ({"confidence": True}, "confidence: send a number, not a boolean"),
    "confidence percent": ({"confidence": 95}, "confidence: 95 is outside 0 to 1"),
    "confidence negative": ({"confidence": -0.1}, "confidence: -0.1 is outside 0 to 1"),
    "confidence NaN": (
        {"confidence": float("nan")},
        "confidence: is not finite; send a number from 0 to 1",
    ),
    "confidence infinite": (
        {"confidence": float("inf")},
        "confidence: is not finite; send a number from 0 to 1",
    ),
    "step long": ({"currentStep": "x" * 129}, "currentStep: has 129 characters; send at most 128"),
    "timestamp in seconds": (
        {"timestamp": 1_698_345_600},
        "timestamp: 1698345600 looks like seconds; send epoch milliseconds, 1698345600000",
    ),
    "timestamp in microseconds": (
        {"timestamp": 1_698_345_600_000_000},
        "timestamp: 1698345600000000 is outside 946684800000 to 4102444800000 (epoch milliseconds)",
    ),
    "timestamp just early": (
        {"timestamp": 946_684_799_999},
        "timestamp: 946684799999 is outside 946684800000 to 4102444800000 (epoch milliseconds)",
    ),
    "timestamp text": (
        {"timestamp": "1698345600000"},
        "timestamp: send an integer, not a string",
    ),
    "timestamp fraction": (
        {"timestamp": 1_698_345_600_000.5},
        "timestamp: send an integer, not a decimal fraction",
    ),
    "timestamp float": (
        {"timestamp": 1_698_345_600_000.0},
        "timestamp: send an integer, not a decimal fraction",
    ),
    "event id empty": ({"eventId": ""}, "eventId: is empty; send at least 1 character"),
    "event id long": ({"eventId": "x" * 65}, "eventId: has 65 characters; send at most 64"),
    "channel capitals": (
        {"channel": "WhatsApp"},
        "channel: 'WhatsApp' is not a lower-case word such as whatsapp, telegram or web",
    ),
    "channel line feed": (
        {"channel": "web\n"},
        "channel: 'web\\n' is not a lower-case word such as whatsapp, telegram or web",
    ),
    "channel null": ({"channel": None}, "channel: send a string, not null"),
    "language a number": ({"language": 7}, "language: send a string, not a number"),
    "alternatives an object": (
        {"alternatives": {}},
        "alternatives: send a list, not an object",
    ),
    "alternatives of text": (
        {"alternatives": ["greet"]},
        "alternatives.0: send a JSON object, not a string",
    ),
    "alternatives many": (
        {"alternatives": [{"intent": "a", "confidence": 0.1}] * 21},
        "alternatives: has 21 items; send at most 20",
    ),
    "alternative overconfident": (
        {"alternatives": [{"intent": "a", "confidence": 2}]},
        "alternatives.0.confidence: 2 is outside 0 to 1",
    ),
    "dataset": ({"datasetId": "My Data"}, "datasetId: 'My Data' is not 1 to 64 of a-z, 0-9 and -"),
    "dataset long": (
        {"datasetId": "é" * 100_000},
        "datasetId: '" + ("\\xe9" * 16)[:63] + "... is not 1 to 64 of a-z, 0-9 and -",
    ),
    "two at once": (
        {"messageText": "", "confidence": "high"},
        "messageText: is empty; send at least 1 character; confidence: send a number, not a string",
    ),
}


@pytest.mark.parametrize(("changes", "expected"), BAD.values(), ids=BAD)
def test_bad_values_are_explained(changes: dict[str, object], expected: str) -> None:
    assert explanation(json.dumps({**SEED, **changes}).encode()) == expected


@pytest.mark.parametrize("name", [name for name in SEED if name != "currentStep"])
def test_required_fields_are_named_when_missing(name: str) -> None:
    rest = {known: value for known, value in SEED.items() if known != name}
    assert explanation(json.dumps(rest).encode()) == f"{name}: is required"


NOT_EVENTS = {
    "empty": (b"", "not JSON: EOF"),
    "cut off": (b'{"phoneNumber":"', "not JSON: EOF"),
    "invalid UTF-8": (b'{"phoneNumber":"\xff"}', "not JSON: invalid unicode"),
    "lone surrogate": (b'{"phoneNumber":"\\ud800"}', "not JSON: "),
    "a list": (b"[]", "send a JSON object, not a list"),
    "null": (b"null", "send a JSON object, not null"),
    "a huge integer": (b'{"timestamp":' + b"9" * 5_000 + b"}", "not JSON: number out of range"),
    "endless nesting": (b"[" * 100_000, "not JSON: recursion limit"),
}


@pytest.mark.parametrize(("value", "expected"), NOT_EVENTS.values(), ids=NOT_EVENTS)
def test_what_is_no_json_object_is_explained(value: bytes, expected: str) -> None:
    assert explanation(value).startswith(expected)


def test_explanations_stay_short_and_printable_whatever_was_sent() -> None:
    digits = b"9" * 4_000
    bad = json.dumps({**SEED, "datasetId": "\U0001f600" * 50_000, "channel": "\x1b[31m"}).encode()
    said = explanation(bad.replace(b"1698345600000", digits))
    assert len(said) < 500
    assert said.isascii()
    assert said.isprintable()
    assert "timestamp: a huge number is outside" in said


def test_integers_beyond_what_python_prints_are_explained() -> None:
    with pytest.raises(ValidationError) as caught:
        Event.model_validate({**SEED, "timestamp": 10**5_000})
    assert "a huge number" in explain(caught.value)


def test_lone_surrogates_from_python_are_explained() -> None:
    with pytest.raises(ValidationError) as caught:
        Event.model_validate({**SEED, "messageText": "\ud800"})
    assert explain(caught.value) == (
        "messageText: is not valid Unicode; send UTF-8 without lone surrogates"
    )


def test_events_are_built_in_python_by_snake_case_names() -> None:
    event = Event.model_validate(
        {
            "phone_number": "+15550100",
            "message_text": "hello",
            "intent": "greet",
            "confidence": 0.9,
            "timestamp": 1_698_345_600_000,
        },
        by_name=True,
    )
    assert event == decode(messageText="hello", intent="greet", confidence=0.9, currentStep=None)


def test_absent_fields_stay_out_of_the_record_and_text_stays_readable() -> None:
    event = decode(messageText="नमस्ते", currentStep=None)
    assert event.to_json().decode() == (
        '{"phoneNumber":"+15550100","messageText":"नमस्ते","intent":"track_order",'
        '"confidence":0.95,"timestamp":1698345600000,"channel":"whatsapp",'
        '"datasetId":"ds-auto-training"}'
    )
