"""Senders made unreadable in what is printed, whatever holds them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from intentloop_schemas.masking import PHONE, masked, masked_text

_SENDER = "phoneNumber"
_TIMES = frozenset({"timestamp"})
"""Fields whose numbers are as long as a phone number and are none."""
_MIN_DIGITS = 7
_PHONE_BYTES = re.compile(PHONE.encode())


def masked_bytes(data: bytes, sender: bytes | None = None) -> bytes:
    """Return bytes of the same length without phone numbers and without the given sender."""
    if sender:
        data = data.replace(sender, _stars(sender))
    return _PHONE_BYTES.sub(lambda found: _stars(found[0]), data)


def masked_json(value: Any, senders: Iterable[str] = (), field: str = "") -> Any:
    """Return a JSON value without phone numbers, senders, and whatever `phoneNumber` holds."""
    if isinstance(value, dict):
        return {
            masked_text(name, senders): masked_json(item, senders, name)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [masked_json(item, senders, field) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if field == _SENDER:
        return masked(str(value))
    if isinstance(value, str):
        return masked_text(value, senders)
    is_phone = isinstance(value, int) and len(str(value)) >= _MIN_DIGITS and field not in _TIMES
    return masked(str(value)) if is_phone else value


def sender_of(value: Any) -> str | None:
    """Return the sender in a JSON value, None when it has none as text."""
    sender = value.get(_SENDER) if isinstance(value, dict) else None
    return sender if isinstance(sender, str) else None


def _stars(data: bytes) -> bytes:
    return b"*" * len(data)
