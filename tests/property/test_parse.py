"""The fast parser says what the model says, of good, bad and damaged records alike."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from intentloop_schemas import Event, EventFields, explain
from intentloop_stream.processing.parse import EventParser
from support.strategies import EVENTS

FIELDS = [field.alias or "" for field in Event.model_fields.values()]
TOKENS = [
    *("null", "true", "0", "-0", "-0.0", "1", "1.0", "1e0", "1e-400", "1e400", "01", "1.", ".5"),
    *("NaN", "Infinity", "-Infinity", "1.0000000000000001", "1.0000000000000003"),
    *("1700000000000", "1700000000000.0", "17e11", "946684799999", "4102444800001", str(10**400)),
    *('""', '" "', '"0.9"', r'"a\u0000b"', r'"a\\u0000b"', r'"\ud83d"', r'"\ud83d\ude00"', r'"\/"'),
    *('"\\"', '"a\tb"', '"WhatsApp"', '"rcs"', '"ds 1"', "[]", "{}", "[" * 300 + "]" * 300),
    *(
        '[{"intent":"a","confidence":1}]',
        '[{"intent":"a"}]',
        '[{"intent":"a","confidence":1,"x":1}]',
    ),
    *('[{"intent":"","confidence":1}]', '[{"intent":"a","confidence":2}]', "[null]"),
    "[" + ",".join(['{"intent":"a","confidence":0}'] * 21) + "]",
    *(f'"{"x" * length}"' for length in (64, 65, 128, 129, 4_096, 4_097)),
    '"' + "\N{GRINNING FACE}" * 64 + '"',
]
PIECES = [
    b"\\",
    b'"',
    b"\n",
    b"\t",
    b"\xff",
    b"\xc3",
    b"\0",
    b",",
    b"}",
    b" ",
    b"\xef\xbb\xbf",
    b"0",
]


def judged(parse: Any, value: bytes) -> Any:
    """Return all fields of an event, or what is wrong with it."""
    try:
        event = parse(value)
    except ValidationError as error:
        return explain(error)
    return fields(event)


def fields(event: EventFields) -> dict[str, Any]:
    alternatives = event.alternatives
    guesses = alternatives and [(a.intent, repr(a.confidence)) for a in alternatives]
    values = {name: repr(getattr(event, name)) for name in Event.model_fields}
    return {**values, "alternatives": guesses, "json": event.to_json()}


WHOLE = {
    "phoneNumber": '"+15550100"',
    "messageText": '"where is my order?"',
    "intent": '"track_order"',
    "confidence": "0.9",
    "timestamp": "1700000000000",
}


def record(values: dict[str, str]) -> bytes:
    return ("{" + ",".join(f'"{name}":{value}' for name, value in values.items()) + "}").encode()


@pytest.mark.parametrize("field", [*FIELDS, "unknown"])
def test_every_value_of_a_field_is_judged_as_the_model_judges_it(field: str) -> None:
    parser = EventParser()
    parser.parse(record(WHOLE))
    for token in TOKENS:
        value = record({**WHOLE, field: token})
        assert judged(parser.parse, value) == judged(Event.model_validate_json, value)


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """Draw an event's JSON, which may have lost a field or be damaged in one place."""
    whole = json.loads(draw(EVENTS).to_json())
    is_ascii = draw(st.booleans())
    values = {name: json.dumps(value, ensure_ascii=is_ascii) for name, value in whole.items()}
    if draw(st.booleans()):
        values.pop(draw(st.sampled_from(sorted(values))))
    value = record(values)
    at = draw(st.integers(0, len(value)))
    return value[:at] + draw(st.sampled_from([b"", *PIECES])) + value[at + draw(st.booleans()) :]


@given(records())
@example(b"")
@example(b'{"unknown":' + b"[" * 500 + b"]" * 500 + b"}")
@example(b'{"unknown":"\xff"}')
def test_every_record_is_judged_as_the_model_judges_it(value: bytes) -> None:
    parser = EventParser()
    expected = judged(Event.model_validate_json, value)

    assert judged(parser.parse, value) == expected
    # The second time channel and dataset are known.
    assert judged(parser.parse, value) == expected


@given(records())
def test_json_without_a_backslash_holds_nothing_that_copy_must_escape(value: bytes) -> None:
    try:
        event = EventParser().parse(value)
    except ValidationError:
        return
    texts = [getattr(event, name) for name in Event.model_fields if name != "alternatives"]
    unusual = set('\\"\t\n\r\b\f\v') & set("".join(text for text in texts if isinstance(text, str)))
    assert not unusual or b"\\" in value
