"""The text of COPY: the fast road says the same as the slow one, and nothing breaks out."""

from __future__ import annotations

from typing import Any

import pytest

from intentloop_sink.encoding import (
    COPY_COLUMNS,
    LineEncoder,
    array_literal,
    copy_field,
    timestamptz,
)
from support.batches import NOON, entry, traffic

HOSTILE = [
    "tab\there",
    "line\nbreak",
    "carriage\rreturn",
    "back\\slash",
    "\\.",
    "\\N",
    "\x01",
    "\x7f",
]


def fields(**event: Any) -> dict[str, str]:
    line = LineEncoder().line(entry(1, **event))
    assert line.endswith("\n")
    assert line.count("\n") == 1
    values = line[:-1].split("\t")
    return dict(zip(COPY_COLUMNS, values, strict=True))


def test_a_line_holds_every_column() -> None:
    assert fields(
        language="en",
        model_version="v1",
        session_id="s",
        message_id="m",
        current_step="welcome",
        alternatives=[{"intent": "cancel", "confidence": 0.02}],
    ) == {
        "id": "ex-1700000000-8e8e3f3237b4210d",
        "input": "where is my order?",
        "sender": "+919876543210",
        "eventId": "event-1",
        "tags": '{"confidence:95","source:+919876543210","timestamp:1700000000001"}',
        "createdAt": "2023-11-14 22:13:20.001+00",
        "confidence": "0.95",
        "reviewReasons": "{}",
        "sessionId": "s",
        "messageId": "m",
        "alternatives": '[{"intent":"cancel","confidence":0.02}]',
        "datasetId": "ds-auto-training",
        "intent": "track_order",
        "predictedIntent": "track_order",
        "channel": "whatsapp",
        "language": "en",
        "modelVersion": "v1",
        "currentStep": "welcome",
    }


def test_what_is_absent_is_null_except_for_the_model_version() -> None:
    line = fields()
    assert line["modelVersion"] == ""
    optional = ("language", "sessionId", "messageId", "currentStep", "alternatives")
    assert {line[name] for name in optional} == {"\\N"}


def test_flagged_examples_say_so_and_why() -> None:
    line = fields(confidence=0.4, intent="nlu_fallback")
    assert line["tags"].endswith(',"needs_review"}')
    assert line["reviewReasons"] == '{"low_confidence","fallback_intent"}'


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize(
    ("field", "column"),
    [
        ("message_text", "input"),
        ("phone_number", "sender"),
        ("event_id", "eventId"),
        ("session_id", "sessionId"),
        ("message_id", "messageId"),
        ("intent", "predictedIntent"),
        ("current_step", "currentStep"),
        ("language", "language"),
        ("model_version", "modelVersion"),
    ],
)
def test_hostile_text_stays_in_its_field(field: str, column: str, text: str) -> None:
    assert fields(**{field: text})[column] == copy_field(text)


def test_both_roads_write_the_same_line() -> None:
    encoder = LineEncoder()
    ordinary = [*traffic(range(300)), entry(1, alternatives=[]), entry(2, message_text='a "b" {c}')]
    for each in ordinary:
        assert encoder.line(each) == encoder._escaped_line(each)


def test_the_caches_stay_small() -> None:
    encoder = LineEncoder()
    for number in range(9_000):
        encoder.line(entry(0, intent=f"intent-{number}", timestamp=NOON + number * 1000))
    assert len(encoder._labels) < 9_000
    assert len(encoder._seconds) < 9_000


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (None, "\\N"),
        ("", ""),
        ("\\N", "\\\\N"),
        ("\\.", "\\\\."),
        ("a\tb\nc\rd\\e", "a\\tb\\nc\\rd\\\\e"),
    ],
)
def test_copy_fields(text: str | None, field: str) -> None:
    assert copy_field(text) == field


@pytest.mark.parametrize(
    ("elements", "literal"),
    [
        ([], "{}"),
        ([""], '{""}'),
        (["NULL", "a b"], '{"NULL","a b"}'),
        (['x",needs_review,"'], '{"x\\",needs_review,\\""}'),
        (["\\", "{}", ","], '{"\\\\","{}",","}'),
    ],
)
def test_array_literals(elements: list[str], literal: str) -> None:
    assert array_literal(elements) == literal


@pytest.mark.parametrize(
    ("timestamp", "text"),
    [
        (946_684_800_000, "2000-01-01 00:00:00.000+00"),
        (1_698_345_600_007, "2023-10-26 18:40:00.007+00"),
        (4_102_444_799_999, "2099-12-31 23:59:59.999+00"),
    ],
)
def test_timestamps_keep_their_milliseconds(timestamp: int, text: str) -> None:
    assert timestamptz(timestamp) == text
