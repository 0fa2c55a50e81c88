"""One line of a segment: a batch as JSON, behind a checksum of its exact bytes.

    {"crc":"1c291ca3","batch":{"topic":"...", ... "entries":[{"offset":7, ... "event":{...}}]}}

The key and the value of a record are left out when they are what they nearly always are: the
sender, and the event as its JSON.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Annotated, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter
from pydantic.alias_generators import to_camel

from intentloop_schemas import (
    Batch,
    ClosedBy,
    DeadLetter,
    Entry,
    Event,
    ReviewReason,
    Source,
    TopicPartition,
    example_id,
)
from intentloop_schemas.lines import LineFormat

LINES = LineFormat("batch")
_ENTRIES = b',"entries":'
_END = b"]}"


class SpooledRecord(NamedTuple):
    """A record as it stood in the log."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class Header(NamedTuple):
    """What is known of a batch without reading its events."""

    partition: TopicPartition
    first_position: int
    next_position: int
    highest_timestamp: int
    events: int

    @classmethod
    def of(cls, batch: Batch) -> Header:
        """Return the header of a batch."""
        return cls(
            batch.partition,
            batch.first_position,
            batch.next_position,
            batch.highest_timestamp,
            len(batch.entries),
        )


def encode(batch: Batch, size: int = 0) -> bytes:
    """Return the line of a batch, newline included, with blanks if it were shorter than `size`."""
    head: dict[str, object] = {
        "topic": batch.partition.topic,
        "topicId": batch.partition.topic_id,
        "partition": batch.partition.partition,
        "firstPosition": batch.first_position,
        "nextPosition": batch.next_position,
        "highestTimestamp": batch.highest_timestamp,
        "openedAt": batch.opened_at,
        "closedBy": batch.closed_by,
        "batches": batch.batches,
        "rejected": batch.rejected,
        "source": batch.source,
        "events": len(batch.entries),
    }
    if batch.suppressed:
        head["suppressed"] = batch.suppressed
    entries = b",".join(map(_entry_text, batch.entries))
    text = _json(head)[:-1] + _ENTRIES + b"[" + entries
    line = LINES.encode(text + _END)
    blanks = b" " * (size - len(line))
    return LINES.encode(text + blanks + _END) if blanks else line


def header(text: bytes) -> Header:
    """Read the header of a batch. Raises ValueError when it cannot be understood."""
    head, found, _ = text.partition(_ENTRIES)
    if not found:
        raise ValueError("no entries")
    return _HEADER.validate_json(head + b"}").header()


def decode(text: bytes) -> Batch:
    """Read a batch. Raises ValueError when it cannot be understood."""
    return _BATCH.validate_json(text).batch()


def encode_letter(letter: DeadLetter) -> bytes:
    """Return a dead letter as a line of JSON, with its original bytes."""
    return letter.to_json() + b"\n"


def _json(fields: Mapping[str, object]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def _entry_text(entry: Entry) -> bytes:
    event, record = entry.event.to_json(), entry.record
    head = {
        "offset": record.offset,
        "timestamp": record.timestamp,
        "eventId": entry.event_id,
        "late": entry.late,
        "reasons": entry.reasons,
    }
    if record.key != entry.event.phone_number.encode():
        head |= _original("key", record.key)
    if record.value != event:
        head |= _original("value", record.value)
    return _json(head)[:-1] + b',"event":' + event + b"}"


def _original(name: str, data: bytes | None) -> dict[str, object]:
    """Return bytes as a field: as text where they are text, else as base64."""
    if data is None:
        return {name: None}
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {f"{name}Base64": b64encode(data).decode()}


def _from_base64(text: object) -> object:
    return b64decode(text, validate=True) if isinstance(text, str) else text


_Bytes = Annotated[bytes, BeforeValidator(_from_base64)]


class _Text(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, strict=True, frozen=True)


class _Entry(_Text):
    offset: int
    timestamp: int
    event_id: str
    late: bool
    reasons: tuple[ReviewReason, ...]
    key: str | None = None
    key_base64: _Bytes | None = None
    value: str | None = None
    value_base64: _Bytes | None = None
    event: Event

    def entry(self) -> Entry:
        event = self.event
        return Entry(
            event,
            self.event_id,
            example_id(event.dataset_id, self.event_id, event.timestamp),
            self.reasons,
            self.late,
            SpooledRecord(self.offset, self.timestamp, self._key(), self._value()),
        )

    def _key(self) -> bytes | None:
        if "key" in self.model_fields_set:
            return None if self.key is None else self.key.encode()
        return self.key_base64 or self.event.phone_number.encode()

    def _value(self) -> bytes | None:
        if "value" in self.model_fields_set:
            return None if self.value is None else self.value.encode()
        return self.value_base64 or self.event.to_json()


class _Header(_Text):
    topic: str
    topic_id: str
    partition: int
    first_position: int
    next_position: int
    highest_timestamp: int
    events: int

    def header(self) -> Header:
        return Header(
            self.topic_partition(),
            self.first_position,
            self.next_position,
            self.highest_timestamp,
            self.events,
        )

    def topic_partition(self) -> TopicPartition:
        return TopicPartition(self.topic, self.topic_id, self.partition)


class _Batch(_Header):
    opened_at: int
    closed_by: ClosedBy
    batches: int
    rejected: int
    source: Source
    suppressed: int = 0
    entries: list[_Entry]

    def batch(self) -> Batch:
        return Batch(
            self.topic_partition(),
            self.first_position,
            self.next_position,
            self.highest_timestamp,
            self.opened_at,
            self.closed_by,
            [entry.entry() for entry in self.entries],
            self.rejected,
            self.batches,
            self.source,
            self.suppressed,
        )


_HEADER = TypeAdapter(_Header)
_BATCH = TypeAdapter(_Batch)
