"""Event ids: the same for a message however often its platform delivers it, else unique."""

from __future__ import annotations

from hashlib import sha256
from uuid import UUID

_DIGEST_DIGITS = 32


def message_event_id(channel: str, sender: str, message_id: str) -> str:
    """Return `m1-` and 32 hex digits made from what a platform repeats with each delivery."""
    digest = sha256(f"{channel}\n{sender}\n{message_id}".encode()).hexdigest()
    return f"m1-{digest[:_DIGEST_DIGITS]}"


def uuid7(timestamp_ms: int, entropy: bytes) -> UUID:
    """Return the UUIDv7 of an epoch time in ms and ten random bytes (RFC 9562, section 5.7)."""
    random_a = int.from_bytes(entropy[:2], "big") & 0xFFF
    random_b = int.from_bytes(entropy[2:10], "big") & (1 << 62) - 1
    version, variant = 0x7, 0b10
    return UUID(int=timestamp_ms << 80 | version << 76 | random_a << 64 | variant << 62 | random_b)
