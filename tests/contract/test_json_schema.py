"""The published JSON Schemas are those of the models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from intentloop_schemas.json_schema import generate, write

PUBLISHED = Path(__file__).parents[2] / "schemas" / "json"


@pytest.mark.parametrize("name", generate())
def test_schemas_have_not_drifted(name: str) -> None:
    assert (PUBLISHED / name).read_text() == generate()[name], "run `make docs`"


def test_nothing_else_is_published() -> None:
    assert {path.name for path in PUBLISHED.iterdir()} == set(generate())


def test_schemas_are_written_to_a_folder(tmp_path: Path) -> None:
    write(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == generate()


def test_the_event_schema_states_the_contract() -> None:
    schema = json.loads(generate()["event.v1.json"])
    assert sorted(schema["required"]) == [
        "confidence",
        "intent",
        "messageText",
        "phoneNumber",
        "timestamp",
    ]
    fields = schema["properties"]
    assert fields["messageText"]["maxLength"] == 4_096
    assert (fields["confidence"]["minimum"], fields["confidence"]["maximum"]) == (0, 1)
    assert fields["timestamp"]["minimum"] == 946_684_800_000
    assert fields["channel"]["default"] == "whatsapp"
    assert fields["datasetId"]["default"] == "ds-auto-training"
    assert "additionalProperties" not in schema
