"""The conversation event: one JSON object per Kafka record, keyed by the sender.

Types are strict: a number is not text, and "0.9" is not a number. Unknown fields are ignored, so
that an older reader takes a newer event.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

DEFAULT_CHANNEL = "whatsapp"
DEFAULT_DATASET = "ds-auto-training"

MIN_TIMESTAMP_MS = 946_684_800_000
"""2000-01-01T00:00:00Z: earlier values are seconds, or a clock that was never set."""
MAX_TIMESTAMP_MS = 4_102_444_800_000
"""2100-01-01T00:00:00Z."""

MAX_SENDER = 64
MAX_TEXT = 4_096
MAX_INTENT = 128
MAX_LABEL = 128
MAX_ALTERNATIVES = 20

_WITHOUT_NUL = r"^[^\x00]*$"
_CHANNEL = r"^[a-z][a-z0-9_-]*$"
DATASET_PATTERN = r"^[a-z0-9-]{1,64}$"


def _text(max_length: int, min_length: int | None = 1) -> StringConstraints:
    return StringConstraints(min_length=min_length, max_length=max_length, pattern=_WITHOUT_NUL)


Sender = Annotated[str, _text(MAX_SENDER)]
MessageText = Annotated[str, _text(MAX_TEXT)]
Intent = Annotated[str, _text(MAX_INTENT)]
EventId = Annotated[str, _text(MAX_SENDER)]
Label = Annotated[str, _text(MAX_LABEL, min_length=None)]
Channel = Annotated[str, StringConstraints(max_length=64, pattern=_CHANNEL)]
DatasetId = Annotated[str, StringConstraints(pattern=DATASET_PATTERN)]
Confidence = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
TimestampMs = Annotated[int, Field(ge=MIN_TIMESTAMP_MS, le=MAX_TIMESTAMP_MS)]


class Contract(BaseModel):
    """What travels between the parts: strict types, camel case, unknown fields ignored."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        # "model_version" is the NLU model's version, not a pydantic method.
        protected_namespaces=(),
    )


class Alternative(Contract):
    """Another guess of the NLU."""

    intent: Intent
    confidence: Confidence


class Event(Contract):
    """One customer message and what the NLU made of it.

    A null in an optional field means the same as leaving the field out, except for `channel` and
    `datasetId`, whose default applies only when they are absent.
    """

    phone_number: Sender
    """The sender: E.164 on WhatsApp and RCS, a user or session id elsewhere."""
    message_text: MessageText
    intent: Intent
    confidence: Confidence
    timestamp: TimestampMs
    """Event time in epoch milliseconds."""
    current_step: Label | None = None
    event_id: EventId | None = None
    channel: Channel = DEFAULT_CHANNEL
    language: Label | None = None
    model_version: Label | None = None
    session_id: Label | None = None
    message_id: Label | None = None
    alternatives: Annotated[list[Alternative], Field(max_length=MAX_ALTERNATIVES)] | None = None
    dataset_id: DatasetId = DEFAULT_DATASET

    def to_json(self) -> bytes:
        """Return the event as the compact UTF-8 JSON of a Kafka record; absent fields stay out."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


def explain(error: ValidationError) -> str:
    """Say in one line what is wrong with an event, field by field, and what to send instead."""
    return "; ".join(_explain_one(detail) for detail in error.errors(include_url=False))


def _explain_one(detail: Any) -> str:
    path = ".".join(str(part) for part in detail["loc"])
    advice = _ADVICE.get(detail["type"])
    message = advice(detail) if advice else detail["msg"]
    return f"{path}: {message}" if path else message


def _out_of_range(detail: Any) -> str:
    value = detail["input"]
    if detail["loc"] != ("timestamp",):
        return f"{_shown(value)} is outside 0 to 1"
    if MIN_TIMESTAMP_MS <= value * 1000 <= MAX_TIMESTAMP_MS:
        return f"{value} looks like seconds; send epoch milliseconds, {value * 1000}"
    return (
        f"{_shown(value)} is outside {MIN_TIMESTAMP_MS} to {MAX_TIMESTAMP_MS} (epoch milliseconds)"
    )


def _wrong_pattern(detail: Any) -> str:
    pattern, value = detail["ctx"]["pattern"], _shown(detail["input"])
    if pattern == _WITHOUT_NUL:
        return "contains a NUL character; remove it"
    if pattern == _CHANNEL:
        return f"{value} is not a lower-case word such as whatsapp, telegram or web"
    return f"{value} is not 1 to 64 of a-z, 0-9 and -"


_ADVICE: dict[str, Any] = {
    "missing": lambda _: "is required",
    "string_type": lambda d: f"send a string, not {_json_type(d['input'])}",
    "float_type": lambda d: f"send a number, not {_json_type(d['input'])}",
    "int_type": lambda d: f"send an integer, not {_integer_expected(d['input'])}",
    "finite_number": lambda _: "is not finite; send a number from 0 to 1",
    "greater_than_equal": _out_of_range,
    "less_than_equal": _out_of_range,
    "string_unicode": lambda _: "is not valid Unicode; send UTF-8 without lone surrogates",
    "string_too_short": lambda d: f"is empty; send at least {d['ctx']['min_length']} character",
    "string_too_long": lambda d: (
        f"has {len(d['input'])} characters; send at most {d['ctx']['max_length']}"
    ),
    "string_pattern_mismatch": _wrong_pattern,
    "too_long": lambda d: f"has {d['ctx']['actual_length']} items; send at most {MAX_ALTERNATIVES}",
    "list_type": lambda d: f"send a list, not {_json_type(d['input'])}",
    "model_type": lambda d: f"send a JSON object, not {_json_type(d['input'])}",
    "json_invalid": lambda d: f"not JSON: {d['ctx']['error']}",
}


def _integer_expected(value: object) -> str:
    return "a decimal fraction" if isinstance(value, float) else _json_type(value)


def _shown(value: object) -> str:
    """Return a value for a message: short, because messages travel in headers, and plain ASCII."""
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS:
        return "a huge number"
    text = ascii(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


_SHOWN_BITS = 64
_SHOWN_CHARACTERS = 64


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list"}
    return names.get(type(value), "an object")
