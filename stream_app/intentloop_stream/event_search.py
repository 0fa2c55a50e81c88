"""One event looked for in Kafka: among the records of the topic, and among the dead letters."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import ValidationError

from intentloop_schemas import event_identity
from intentloop_schemas.kafka import KafkaSettings
from intentloop_stream.letter_reader import Found, first_copies, read_letters, read_to_end
from intentloop_stream.processing.parse import EventParser

_DERIVED = "d1-"
"""Begins the ids of events that came without one: no record holds such an id."""


class LogPlace(NamedTuple):
    """Where a record stands; `timestamp` is Kafka's, epoch ms."""

    partition: int
    offset: int
    timestamp: int


class EventSearch:
    """Looks for the event of an id. Everything blocks, and raises KafkaException.

    Args:
        kafka: where to look.
        topic: the topic of the conversations.
        event_id: as in the event, or `d1-` and a digest.
        since: records before this epoch ms are not looked at.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, event_id: str, since: int) -> None:
        self._kafka = kafka
        self._topic = topic
        self._event_id = event_id
        self._since = since
        self._parser = EventParser()

    def records(self) -> list[LogPlace]:
        """Return where the event stands in the topic: at each place where it was sent."""
        return [
            LogPlace(message.partition(), message.offset(), message.timestamp()[1])
            for message in read_to_end(self._kafka, self._topic, since=self._since)
            if self._is_it(message.value())
        ]

    def letters(self) -> list[Found]:
        """Return the dead letters of the event."""
        letters = first_copies(read_letters(self._kafka, self._topic, since=self._since))
        return [found for found in letters if self._is_named(found.letter.value)]

    def _is_it(self, value: bytes | None) -> bool:
        if not self._is_named(value):
            return False
        try:
            return event_identity(self._parser.parse(value or b"")) == self._event_id
        except ValidationError:
            return False

    def _is_named(self, value: bytes | None) -> bool:
        """Tell whether a record may be the one, without reading it."""
        if value is None:
            return False
        return self._event_id.startswith(_DERIVED) or self._event_id.encode() in value
