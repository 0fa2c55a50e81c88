"""What holds for every event."""

from __future__ import annotations

import json
import string
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from intentloop_schemas import Event, event_identity, example_id
from intentloop_schemas.event import MAX_TIMESTAMP_MS, MIN_TIMESTAMP_MS


def text(low: int, high: int) -> st.SearchStrategy[str]:
    # Everything that UTF-8 can carry, but for NUL.
    return st.text(
        st.characters(codec="utf-8", exclude_characters="\0"), min_size=low, max_size=high
    )


def or_absent(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


CONFIDENCES = st.floats(0, 1)
LABELS = or_absent(text(0, 128))
ALTERNATIVES = st.lists(
    st.fixed_dictionaries({"intent": text(1, 128), "confidence": CONFIDENCES}), max_size=20
)
EVENTS = st.fixed_dictionaries(
    {
        "phone_number": text(1, 64),
        "message_text": text(1, 200),
        "intent": text(1, 128),
        "confidence": CONFIDENCES,
        "timestamp": st.integers(MIN_TIMESTAMP_MS, MAX_TIMESTAMP_MS),
        "current_step": LABELS,
        "event_id": or_absent(text(1, 64)),
        "channel": st.from_regex(r"[a-z][a-z0-9_-]{0,63}", fullmatch=True),
        "language": LABELS,
        "model_version": LABELS,
        "session_id": LABELS,
        "message_id": LABELS,
        "alternatives": or_absent(ALTERNATIVES),
        "dataset_id": st.text(f"{string.ascii_lowercase}{string.digits}-", min_size=1, max_size=64),
    }
).map(lambda fields: Event.model_validate(fields, by_name=True))


@given(EVENTS)
def test_decoding_what_was_encoded_gives_the_same_event(event: Event) -> None:
    assert Event.model_validate_json(event.to_json()) == event


@given(EVENTS)
def test_the_record_is_plain_compact_json(event: Event) -> None:
    value = event.to_json()
    again = json.dumps(json.loads(value), separators=(",", ":"), ensure_ascii=False).encode()
    assert json.loads(again) == json.loads(value)
    assert None not in json.loads(value).values()
    assert b"\n" not in value


@given(EVENTS)
def test_identity_survives_the_journey_and_the_order_of_fields(event: Event) -> None:
    fields = json.loads(event.to_json())
    shuffled = json.dumps(dict(reversed(fields.items())), indent=1)
    assert event_identity(Event.model_validate_json(shuffled)) == event_identity(event)


@given(EVENTS)
def test_identities_fit_where_they_are_stored(event: Event) -> None:
    identity = event_identity(event)
    row = example_id(event.dataset_id, identity, event.timestamp)
    assert 1 <= len(identity) <= 67
    assert row.startswith(f"ex-{event.timestamp // 1000}-")
    assert row == example_id(event.dataset_id, identity, event.timestamp)


@given(EVENTS, EVENTS)
def test_different_seeds_have_different_identities(one: Event, other: Event) -> None:
    def seed(event: Event) -> tuple[object, ...]:
        return (
            event.phone_number,
            event.message_text,
            event.intent,
            event.confidence,
            event.current_step,
            event.timestamp,
        )

    if one.event_id is None and other.event_id is None and seed(one) != seed(other):
        assert event_identity(one) != event_identity(other)
