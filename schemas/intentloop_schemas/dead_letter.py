"""Dead letters: records that could not become an example, kept byte for byte with the reason.

Delivery is at least once; topic, partition and offset together name a dead letter.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

Headers = list[tuple[str, bytes]]


class DeadLetterReason(StrEnum):
    """Why a record was rejected."""

    NO_VALUE = "no_value"
    INVALID_JSON = "invalid_json"
    INVALID_EVENT = "invalid_event"
    CONFLICTING_DUPLICATE = "conflicting_duplicate"
    REFUSED_BY_DATABASE = "refused_by_database"


class DeadLetter(BaseModel):
    """A rejected record and where it stood; `timestamp` is its Kafka timestamp in epoch ms."""

    model_config = ConfigDict(frozen=True)

    reason: DeadLetterReason
    error: str
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None = None
    value: bytes | None = None

    def headers(self) -> Headers:
        """Return the headers of the dead-letter record; its key and value are the original's."""
        return [
            ("dlq.reason", self.reason.encode()),
            ("dlq.error", self.error.encode()),
            ("dlq.topic", self.topic.encode()),
            ("dlq.partition", str(self.partition).encode()),
            ("dlq.offset", str(self.offset).encode()),
            ("dlq.timestamp", str(self.timestamp).encode()),
        ]

    @classmethod
    def from_record(
        cls, headers: Iterable[tuple[str, bytes]], key: bytes | None, value: bytes | None
    ) -> DeadLetter:
        """Read a record of the dead-letter topic.

        Raises pydantic.ValidationError when a header is missing or malformed.
        """
        fields = {
            name.removeprefix("dlq."): text.decode()
            for name, text in headers
            if name.startswith("dlq.")
        }
        return cls.model_validate({**fields, "key": key, "value": value})
