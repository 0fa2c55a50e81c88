"""From what a bot passes to `log()` to the event of the contract."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from intentloop_producer.intake import Utterance
from intentloop_producer.report import without
from intentloop_schemas import Event, explain
from intentloop_schemas.event import MIN_TIMESTAMP_MS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_DIGEST_DIGITS = 32
ENTROPY_BYTES = 10


class NaiveTimestampError(ValueError):
    """A datetime without a time zone."""

    def __init__(self) -> None:
        super().__init__(
            "timestamp: a datetime without a time zone; send an aware one or epoch milliseconds"
        )


def to_event(utterance: Utterance, entropy: bytes, id_key: bytes = b"") -> Event:
    """Return the event of an utterance; `entropy` is ten random bytes for its id.

    With an `id_key` nobody else can find the sender from an id that was made of it.

    Raises pydantic.ValidationError or NaiveTimestampError when it is not one.
    """
    given = utterance._asdict()
    logged_at = given.pop("logged_at")
    fields = {name: value for name, value in given.items() if value is not None}
    fields["timestamp"] = _epoch_ms(fields.get("timestamp", logged_at))
    if isinstance(utterance.alternatives, tuple):
        fields["alternatives"] = list(utterance.alternatives)
    event = Event.model_validate(fields, by_name=True)
    if event.event_id:
        return event
    return event.model_copy(update={"event_id": _id(event, entropy, id_key)})


def warm_up() -> None:
    """Make an event once, before there are threads.

    What pydantic settles at its first event it settles under a lock. A child that is forked at
    that moment, while another thread has the lock, waits for it for ever.
    """
    nothing: dict[str, Any] = dict.fromkeys(Utterance._fields)
    told = {"phone_number": "1", "message_text": "1", "intent": "1", "confidence": 1.0}
    utterance = Utterance(**{**nothing, **told, "logged_at": MIN_TIMESTAMP_MS})
    to_event(utterance, bytes(ENTROPY_BYTES)).to_json()


def objection(error: Exception, utterance: Utterance) -> str:
    """Say why an utterance is not an event, without its sender."""
    if isinstance(error, ValidationError):
        return without(utterance.phone_number, explain(error))
    # The text of an error that is not ours may hold anything.
    return str(error) if isinstance(error, NaiveTimestampError) else type(error).__name__


def message_event_id(channel: str, sender: str, message_id: str, key: bytes = b"") -> str:
    """Return the id of a message: the same however often its platform delivers it.

    It is `m1-` and the first 32 hex digits of a SHA-256; with a key, `k1-` and those of an
    HMAC-SHA-256. Without one, whoever knows channel and message id finds the sender by trying all
    phone numbers.
    """
    named = f"{channel}\n{sender}\n{message_id}".encode()
    if key:
        return f"k1-{hmac.new(key, named, sha256).hexdigest()[:_DIGEST_DIGITS]}"
    return f"m1-{sha256(named).hexdigest()[:_DIGEST_DIGITS]}"


def uuid7(timestamp_ms: int, entropy: bytes) -> UUID:
    """Return the UUIDv7 of an epoch time in ms and ten random bytes (RFC 9562, section 5.7)."""
    random_a = int.from_bytes(entropy[:2], "big") & 0xFFF
    random_b = int.from_bytes(entropy[2:10], "big") & (1 << 62) - 1
    version, variant = 0x7, 0b10
    return UUID(int=timestamp_ms << 80 | version << 76 | random_a << 64 | variant << 62 | random_b)


def _id(event: Event, entropy: bytes, key: bytes) -> str:
    if event.message_id:
        return message_event_id(event.channel, event.phone_number, event.message_id, key)
    return str(uuid7(event.timestamp, entropy))


def _epoch_ms(timestamp: Any) -> Any:
    if not isinstance(timestamp, datetime):
        return timestamp
    if timestamp.tzinfo is None:
        raise NaiveTimestampError
    return (timestamp - _EPOCH) // _MILLISECOND
