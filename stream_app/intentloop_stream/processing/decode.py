"""From records to entries: validate, identify, flag for review, judge lateness."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import ValidationError

from intentloop_schemas import (
    DeadLetterReason,
    Entry,
    EventFields,
    Record,
    ReviewRule,
    event_identity,
    example_id,
    explain,
)
from intentloop_stream.processing.parse import EventParser
from intentloop_stream.processing.watermark import Watermark


class Rejection(NamedTuple):
    """A record that is no valid event, and why."""

    record: Record
    reason: DeadLetterReason
    error: str


@dataclass(frozen=True, slots=True)
class Decoder:
    """Turns records into entries by the contract, in the order of the log."""

    rule: ReviewRule
    window_seconds: int
    _parser: EventParser = field(default_factory=EventParser)

    def decode(self, records: Iterable[Record], watermark: Watermark) -> list[Entry | Rejection]:
        """Return one item a record; valid events move `watermark` on."""
        return [self._decode(record, watermark) for record in records]

    def _decode(self, record: Record, watermark: Watermark) -> Entry | Rejection:
        if record.value is None:
            return Rejection(
                record, DeadLetterReason.NO_VALUE, "the record has no value; send the event as JSON"
            )
        try:
            event = self._parser.parse(record.value)
        except ValidationError as error:
            return Rejection(record, _reason(error), explain(error))
        late = watermark.pass_by(event.timestamp, record.timestamp, self.window_seconds * 1000)
        return to_entry(event, record, self.rule, late=late)


def to_entry(event: EventFields, record: Record, rule: ReviewRule, *, late: bool) -> Entry:
    """Return a valid event with all that is derived from it."""
    event_id = event.event_id or event_identity(event)
    return Entry(
        event,
        event_id,
        example_id(event.dataset_id, event_id, event.timestamp),
        rule.reasons(event.intent, event.confidence, event.alternatives),
        late,
        record,
    )


def _reason(error: ValidationError) -> DeadLetterReason:
    kind = error.errors(include_url=False, include_context=False, include_input=False)[0]["type"]
    return (
        DeadLetterReason.INVALID_JSON if kind == "json_invalid" else DeadLetterReason.INVALID_EVENT
    )
