"""From the bytes of a record to an event: by msgspec where the model would say the same.

msgspec takes a third of pydantic's time. It only ever says yes: what it does not accept, and what
it cannot judge (unknown fields, NUL characters, patterns), goes to the model, which has the last
word. `tests/property/test_parse.py` holds the two together.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta
from pydantic import TypeAdapter

from intentloop_schemas import Event, EventFields
from intentloop_schemas.event import (
    DEFAULT_CHANNEL,
    DEFAULT_DATASET,
    MAX_ALTERNATIVES,
    MAX_INTENT,
    MAX_LABEL,
    MAX_SENDER,
    MAX_TEXT,
    MAX_TIMESTAMP_MS,
    MIN_TIMESTAMP_MS,
)

_ESCAPED_NUL = b"\\u0000"
_BACKSLASH = ord("\\")
_MAX_KNOWN = 4096

_Sender = Annotated[str, Meta(min_length=1, max_length=MAX_SENDER)]
_Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)]
_Intent = Annotated[str, Meta(min_length=1, max_length=MAX_INTENT)]
_Label = Annotated[str, Meta(max_length=MAX_LABEL)]
_Confidence = Annotated[float, Meta(ge=0.0, le=1.0)]
_Timestamp = Annotated[int, Meta(ge=MIN_TIMESTAMP_MS, le=MAX_TIMESTAMP_MS)]

_model = TypeAdapter(Event).validator


def _by_model(value: bytes) -> Event:
    event: Event = _model.validate_json(value)
    return event


class _Alternative(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    intent: _Intent
    confidence: _Confidence


class _Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", gc=False):
    phone_number: _Sender
    message_text: _Text
    intent: _Intent
    confidence: _Confidence
    timestamp: _Timestamp
    current_step: _Label | None = None
    event_id: _Sender | None = None
    channel: str = DEFAULT_CHANNEL
    language: _Label | None = None
    model_version: _Label | None = None
    session_id: _Label | None = None
    message_id: _Label | None = None
    alternatives: Annotated[list[_Alternative], Meta(max_length=MAX_ALTERNATIVES)] | None = None
    dataset_id: str = DEFAULT_DATASET

    def to_json(self) -> bytes:
        """Return the event as `Event` would."""
        return _by_model(msgspec.json.encode(self)).to_json()


_by_msgspec = msgspec.json.Decoder(_Event).decode


class EventParser:
    """Parses events. It keeps what channels and datasets the model has accepted, some thousands."""

    def __init__(self) -> None:
        self._known: set[tuple[str, str]] = set()

    def parse(self, value: bytes) -> EventFields:
        """Return the event in a record's value. Raises pydantic.ValidationError."""
        # Most have no backslash at all, and one byte is found out much sooner than several.
        if _BACKSLASH in value and _ESCAPED_NUL in value:
            return _by_model(value)
        try:
            event = _by_msgspec(value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return _by_model(value)
        if (event.channel, event.dataset_id) not in self._known:
            self._learn(_by_model(value))
        return event

    def _learn(self, event: Event) -> None:
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known.add((event.channel, event.dataset_id))
