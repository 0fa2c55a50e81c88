"""What holds for every event."""

from __future__ import annotations

import json

from hypothesis import given

from intentloop_schemas import Event, event_identity, example_id
from support.strategies import EVENTS


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
