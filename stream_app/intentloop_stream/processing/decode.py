"""From records to entries: validate, identify, flag for review, judge lateness."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import ValidationError

from intentloop_schemas import (
    DeadLetterReason,
    Entry,
    Event,
    EventFields,
    PiiMode,
    PiiRule,
    Record,
    ReviewRule,
    event_identity,
    example_id,
    explain,
)
from intentloop_schemas.pii import PLAIN
from intentloop_stream.processing.parse import EventParser
from intentloop_stream.processing.watermark import Watermark


class Rejection(NamedTuple):
    """A record that is no valid event, and why."""

    record: Record
    reason: DeadLetterReason
    error: str


@dataclass(slots=True)
class LocalRecord:
    """A record of our own making: for what no log holds, or holds more of than may be kept."""

    value: bytes | None
    timestamp: int
    """Kafka timestamp, or when it came, epoch ms."""
    offset: int = -1
    key: bytes | None = None


@dataclass(frozen=True, slots=True)
class Decoder:
    """Turns records into entries by the contract, in the order of the log.

    What `pii` hides of a sender is gone from the entries. It stays in records that are rejected.
    """

    rule: ReviewRule
    window_seconds: int
    pii: PiiRule = PLAIN
    _parser: EventParser = field(default_factory=EventParser)

    def decode(
        self, records: Iterable[Record], watermark: Watermark | None
    ) -> list[Entry | Rejection]:
        """Return one item a record; valid events move `watermark` on. Without one none is late."""
        return [self._decode(record, watermark) for record in records]

    def _decode(self, record: Record, watermark: Watermark | None) -> Entry | Rejection:
        if record.value is None:
            return Rejection(
                record, DeadLetterReason.NO_VALUE, "the record has no value; send the event as JSON"
            )
        try:
            event = self._parser.parse(record.value)
        except ValidationError as error:
            return Rejection(record, _reason(error), explain(error))
        late = watermark is not None and watermark.pass_by(
            event.timestamp, record.timestamp, self.window_seconds * 1000
        )
        # Before anything is hidden: it may be derived from that.
        event_id = event.event_id or event_identity(event)
        if self.pii.mode is not PiiMode.PLAIN:
            event, record = self._hide(event, record)
        return Entry(
            event,
            event_id,
            example_id(event.dataset_id, event_id, event.timestamp),
            self.rule.reasons(event.intent, event.confidence, event.alternatives),
            late,
            record,
        )

    def _hide(self, event: EventFields, record: Record) -> tuple[EventFields, Record]:
        whole = event if isinstance(event, Event) else Event.model_validate_json(event.to_json())
        hidden = self.pii.hide(whole)
        key = hidden.phone_number.encode()
        return hidden, LocalRecord(hidden.to_json(), record.timestamp, record.offset, key)


def _reason(error: ValidationError) -> DeadLetterReason:
    kind = error.errors(include_url=False, include_context=False, include_input=False)[0]["type"]
    return (
        DeadLetterReason.INVALID_JSON if kind == "json_invalid" else DeadLetterReason.INVALID_EVENT
    )
