"""Dead letters: records that could not become an example, kept byte for byte with the reason.

Delivery is at least once: a letter may come twice, and its place tells that it is the same one.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

Headers = list[tuple[str, bytes]]


class DeadLetterReason(StrEnum):
    """Why a record was rejected."""

    NO_VALUE = "no_value"
    INVALID_JSON = "invalid_json"
    INVALID_EVENT = "invalid_event"
    CONFLICTING_DUPLICATE = "conflicting_duplicate"
    REFUSED_BY_DATABASE = "refused_by_database"


class Place(NamedTuple):
    """Where a record stood: this names its dead letter.

    A deleted and recreated topic uses its offsets again; the Kafka timestamp, in epoch ms, tells
    its lives apart.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int


class DeadLetter(BaseModel):
    """A rejected record and where it stood; `timestamp` is its Kafka timestamp in epoch ms.

    A record too large for the dead-letter topic has a truncated letter: `truncated` is then the
    size of the original value in bytes and `quarantine` the name of the file that holds it whole.
    """

    model_config = ConfigDict(frozen=True)

    reason: DeadLetterReason
    error: str
    topic: str
    partition: int
    offset: int
    timestamp: int
    truncated: int | None = None
    quarantine: str | None = None
    key: bytes | None = None
    value: bytes | None = None

    @property
    def place(self) -> Place:
        """Where the record stood."""
        return Place(self.topic, self.partition, self.offset, self.timestamp)

    def headers(self) -> Headers:
        """Return the headers of the dead-letter record; its key and value are the original's."""
        fields = self.model_dump(exclude={"key", "value"}, exclude_none=True)
        return [(f"dlq.{name}", str(value).encode()) for name, value in fields.items()]

    def to_json(self) -> bytes:
        """Return one line of JSON, newline excluded, with the original bytes.

        Key and value are text where they are UTF-8, else base64 under `keyBase64`, `valueBase64`.
        """
        fields = self.model_dump(exclude={"key", "value"}, exclude_none=True)
        fields |= {**_original("key", self.key), **_original("value", self.value)}
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_record(
        cls, headers: Iterable[tuple[str, bytes | None]], key: bytes | None, value: bytes | None
    ) -> DeadLetter:
        """Read a record of the dead-letter topic.

        Raises pydantic.ValidationError when a header is missing or malformed.
        """
        fields = {
            name.removeprefix("dlq."): (text or b"").decode(errors="replace")
            for name, text in headers
            if name.startswith("dlq.")
        }
        return cls.model_validate({**fields, "key": key, "value": value})


def _original(name: str, data: bytes | None) -> dict[str, str | None]:
    if data is None:
        return {name: None}
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {f"{name}Base64": b64encode(data).decode()}
