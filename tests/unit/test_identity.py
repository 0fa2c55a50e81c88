"""Identities are part of the contract: these values may never change."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest

from intentloop_schemas import Event, event_identity, example_id

SEED: dict[str, Any] = {
    "phoneNumber": "+919876543210",
    "messageText": "where is my order?",
    "intent": "track_order",
    "confidence": 0.95,
    "currentStep": "home",
    "timestamp": 1_698_345_600_000,
}


def identity(**changes: object) -> str:
    return event_identity(Event.model_validate({**SEED, **changes}))


def test_an_event_with_an_id_keeps_it() -> None:
    assert identity(eventId="m1-4711") == "m1-4711"


def test_the_id_of_a_seed_event_is_the_digest_of_its_sorted_compact_json() -> None:
    canonical = (
        '{"confidence":0.95,"currentStep":"home","intent":"track_order",'
        '"messageText":"where is my order?","phoneNumber":"+919876543210",'
        '"timestamp":1698345600000}'
    )
    assert canonical == json.dumps(SEED, sort_keys=True, separators=(",", ":"))
    assert identity() == "d1-" + sha256(canonical.encode()).hexdigest()
    assert identity() == "d1-c3f66abb89d913199bff3b886ba6847b6c5dffa10841352bd4d6413cf86dcb42"


def test_text_is_digested_as_utf8_and_an_absent_step_as_null() -> None:
    canonical = (
        '{"confidence":0.95,"currentStep":null,"intent":"track_order",'
        '"messageText":"पनीर","phoneNumber":"+919876543210","timestamp":1698345600000}'
    )
    expected = "d1-" + sha256(canonical.encode()).hexdigest()
    assert identity(messageText="पनीर", currentStep=None) == expected


def test_fields_beyond_the_seed_do_not_change_the_id() -> None:
    assert identity(language="en", channel="web", datasetId="other") == identity()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("phoneNumber", "+919876543211"),
        ("messageText", "where is my order"),
        ("intent", "order_status"),
        ("confidence", 0.94),
        ("currentStep", None),
        ("timestamp", 1_698_345_600_001),
    ],
)
def test_each_seed_field_changes_the_id(name: str, value: object) -> None:
    assert identity(**{name: value}) != identity()


def test_an_integer_confidence_is_the_same_number() -> None:
    assert identity(confidence=1) == identity(confidence=1.0)


def test_example_ids_are_made_of_seconds_and_a_digest_of_dataset_and_event() -> None:
    digest = sha256(b"ds-auto-training\nm1-4711").hexdigest()
    row = example_id("ds-auto-training", "m1-4711", 1_698_345_600_999)
    assert row == f"ex-1698345600-{digest[:16]}"
    assert row == "ex-1698345600-4d285b7ef54f91e1"


def test_example_ids_sort_by_time() -> None:
    ids = [example_id("ds", f"e{n}", 1_698_345_600_000 + n * 1000) for n in range(100)]
    assert ids == sorted(ids)
