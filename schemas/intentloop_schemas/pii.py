"""What of a person's identity an event keeps: all of it, a mask, or a pseudonym.

Whoever takes events in applies the rule before they go to Kafka, a store or a file.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from enum import StrEnum

from intentloop_schemas.event import Event
from intentloop_schemas.masking import masked, masked_text

SHORTEST_SENDER = 5
"""A shorter sender names nobody, and replacing it would garble the text."""

_PSEUDONYM_BYTES = 16
_PSEUDONYM = re.compile(r"h:[A-Za-z0-9_-]{22}")


class PiiMode(StrEnum):
    """How senders are stored."""

    PLAIN = "plain"
    MASK = "mask"
    HMAC = "hmac"


@dataclass(frozen=True, slots=True)
class PiiRule:
    """Hides who wrote a message, to the degree that `mode` asks for.

    `key` makes the pseudonyms: whoever has it can tell whether one belongs to a phone number, and
    nobody else can.
    """

    mode: PiiMode = PiiMode.PLAIN
    key: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        if self.mode is PiiMode.HMAC and not self.key:
            raise ValueError("hmac needs a key")

    def hide(self, event: Event) -> Event:
        """Return the event as it may be kept; in mode plain, unchanged.

        Sender and session are replaced, and numbers of seven digits or more in the text. The
        platform's id of the message goes: WhatsApp's holds the phone number in base64. Hiding
        again changes nothing. Take `event_identity` before: of an event without an id it is
        derived from what is hidden here, and is too long to become its `eventId`.
        """
        if self.mode is PiiMode.PLAIN:
            return event
        changes = {
            "phone_number": self.pseudonym(event.phone_number),
            "session_id": event.session_id and self.pseudonym(event.session_id),
            "message_text": self.text(event.message_text, event.phone_number),
            "message_id": None,
        }
        return event.model_copy(update=changes)

    def pseudonym(self, sender: str) -> str:
        """Return what stands for a sender, always the same.

        In mode mask `+91******3210`, which others share. In mode hmac `h:` and 22 characters: the
        first 128 bits of HMAC-SHA-256 over the sender's UTF-8 bytes, as base64url without padding.
        """
        if self.mode is PiiMode.PLAIN or _PSEUDONYM.fullmatch(sender):
            return sender
        if self.mode is PiiMode.MASK:
            return masked(sender)
        digest = hmac.digest(self.key, sender.encode(), "sha256")[:_PSEUDONYM_BYTES]
        return f"h:{urlsafe_b64encode(digest).decode().rstrip('=')}"

    def text(self, text: str, sender: str = "") -> str:
        """Return a text of the same length without phone numbers and without its sender."""
        if self.mode is PiiMode.PLAIN:
            return text
        senders = [sender] if len(sender) >= SHORTEST_SENDER else []
        return masked_text(text, senders, masked if self.mode is PiiMode.MASK else _blotted)


PLAIN = PiiRule()
"""Hides nothing."""


def _blotted(found: str) -> str:
    return "*" * len(found)
