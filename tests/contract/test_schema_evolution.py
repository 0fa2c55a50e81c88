"""Readers and writers of different ages understand each other."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ConfigDict

from intentloop_schemas import Event, event_identity

SEED: dict[str, Any] = {
    "phoneNumber": "+919876543210",
    "messageText": "where is my order?",
    "intent": "track_order",
    "confidence": 0.95,
    "currentStep": "home",
    "timestamp": 1_698_345_600_000,
}


class NewerEvent(Event):
    """An event of a later version, with a field that today's readers do not know."""

    model_config = ConfigDict(strict=True)

    sentiment: float
    attachments: list[dict[str, str]]


def test_an_older_reader_takes_a_newer_event() -> None:
    newer = NewerEvent.model_validate(
        {**SEED, "sentiment": -0.4, "attachments": [{"kind": "image"}], "eventId": "m1-1"}
    )

    older = Event.model_validate_json(newer.to_json())

    assert b"sentiment" in newer.to_json()
    assert b"sentiment" not in older.to_json()
    assert older == Event.model_validate({**SEED, "eventId": "m1-1"})


def test_an_older_reader_takes_unknown_fields_of_any_kind_at_any_depth() -> None:
    value = {
        **SEED,
        "unknown": [None, {"phoneNumber": 1}],
        "alternatives": [{"intent": "greet", "confidence": 0.1, "rank": 2}],
    }
    assert Event.model_validate_json(json.dumps(value)).alternatives is not None


def test_a_newer_reader_takes_the_six_fields_of_the_first_service() -> None:
    event = Event.model_validate_json(json.dumps(SEED))

    assert json.loads(event.to_json()) == {
        **SEED,
        "channel": "whatsapp",
        "datasetId": "ds-auto-training",
    }
    assert event.event_id is None
    assert event.model_version is None


def test_reading_and_writing_an_old_event_does_not_change_its_identity() -> None:
    event = Event.model_validate_json(json.dumps(SEED))
    again = Event.model_validate_json(event.to_json())
    assert event_identity(again) == event_identity(event)
