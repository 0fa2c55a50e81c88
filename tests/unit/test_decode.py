"""Every kind of bad record gets a decided answer; good neighbours are not affected."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from intentloop_schemas import DeadLetterReason, Entry, PiiMode, PiiRule, ReviewRule
from intentloop_stream.processing import Decoder, Rejection, Watermark

GOOD: dict[str, Any] = {
    "phoneNumber": "+15550100",
    "messageText": "where is my order",
    "intent": "track_order",
    "confidence": 0.9,
    "timestamp": 1_698_345_600_000,
}


class LogRecord(NamedTuple):
    offset: int
    value: bytes | None
    timestamp: int = 1_698_345_600_500
    key: bytes | None = b"+15550100"


def decode(*values: bytes | None) -> list[Entry | Rejection]:
    records = [LogRecord(offset, value) for offset, value in enumerate(values)]
    return Decoder(ReviewRule(), 30).decode(records, Watermark())


def bad(**changes: object) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


POISON = {
    "null value": (None, DeadLetterReason.NO_VALUE, "no value"),
    "empty": (b"", DeadLetterReason.INVALID_JSON, "not JSON"),
    "cut off": (b'{"phoneNumber":', DeadLetterReason.INVALID_JSON, "not JSON"),
    "invalid UTF-8": (b'{"messageText":"\xff"}', DeadLetterReason.INVALID_JSON, "not JSON"),
    "lone surrogate": (b'{"messageText":"\\ud800"}', DeadLetterReason.INVALID_JSON, "not JSON"),
    "two events in one": (
        bad() + b"," + bad(),
        DeadLetterReason.INVALID_JSON,
        "trailing characters",
    ),
    "deep nesting": (
        bad(extra=None).replace(b"null", b"[" * 500 + b"]" * 500),
        DeadLetterReason.INVALID_JSON,
        "recursion limit",
    ),
    "a list": (b"[]", DeadLetterReason.INVALID_EVENT, "send a JSON object, not a list"),
    "NUL": (bad(messageText="a\0b"), DeadLetterReason.INVALID_EVENT, "NUL character"),
    "NaN": (bad(confidence=float("nan")), DeadLetterReason.INVALID_EVENT, "not finite"),
    "text for a number": (bad(confidence="0.9"), DeadLetterReason.INVALID_EVENT, "send a number"),
    "number for a text": (bad(phoneNumber=15550100), DeadLetterReason.INVALID_EVENT, "a string"),
    "seconds": (bad(timestamp=1_698_345_600), DeadLetterReason.INVALID_EVENT, "1698345600000"),
    "missing": (b"{}", DeadLetterReason.INVALID_EVENT, "phoneNumber: is required"),
}


@pytest.mark.parametrize("kind", POISON)
def test_poison_is_rejected_with_its_reason_and_costs_no_neighbour(kind: str) -> None:
    value, reason, message = POISON[kind]

    before, rejection, after = decode(bad(), value, bad())

    assert isinstance(before, Entry)
    assert isinstance(after, Entry)
    assert isinstance(rejection, Rejection)
    assert rejection.reason is reason
    assert message in rejection.error
    assert rejection.record.value == value


def test_records_that_only_parse_when_joined_are_rejected_one_by_one() -> None:
    halves = decode(b'{"alternatives":[{"intent":"a"}', b'{"intent":"b"}]}')

    assert [type(item) for item in halves] == [Rejection, Rejection]


def test_lateness_depends_on_what_came_before_in_the_log() -> None:
    newer = bad(timestamp=GOOD["timestamp"] + 40_000)

    first, _, late = decode(bad(), newer, bad())

    assert isinstance(first, Entry)
    assert isinstance(late, Entry)
    assert (first.late, late.late) == (False, True)


@pytest.mark.parametrize("mode", [PiiMode.MASK, PiiMode.HMAC])
def test_what_is_hidden_of_a_sender_is_nowhere_in_the_entry(mode: PiiMode) -> None:
    value = bad(messageText="call +15550100999", phoneNumber="+15550100999", messageId="wamid.x")
    decoder = Decoder(ReviewRule(), 30, PiiRule(mode, b"key"))

    (entry,) = decoder.decode([LogRecord(7, value)], Watermark())

    assert isinstance(entry, Entry)
    assert entry.event.phone_number == PiiRule(mode, b"key").pseudonym("+15550100999")
    assert entry.event.message_id is None
    assert b"5550100" not in (entry.record.value or b"") + (entry.record.key or b"")
    assert (entry.record.offset, entry.record.timestamp) == (7, 1_698_345_600_500)


def test_an_identity_is_taken_before_anything_is_hidden() -> None:
    plain = decode(bad())[0]
    (hidden,) = Decoder(ReviewRule(), 30, PiiRule(PiiMode.MASK)).decode(
        [LogRecord(0, bad())], Watermark()
    )

    assert isinstance(plain, Entry)
    assert isinstance(hidden, Entry)
    assert hidden.example_id == plain.example_id
