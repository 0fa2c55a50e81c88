"""What makes two events the same event."""

from __future__ import annotations

from typing import NamedTuple

from intentloop_schemas import Entry


class Content(NamedTuple):
    """What two events of one identity must have in common to be the same event.

    Review reasons are left out: they depend on the rule of the day.
    """

    text: str
    intent: str
    confidence: float
    timestamp: int
    event_id: str
    sender: str
    channel: str
    language: str | None
    model_version: str
    session_id: str | None
    message_id: str | None
    step: str | None
    alternatives: list[dict[str, object]] | None

    @classmethod
    def of(cls, entry: Entry) -> Content:
        """Return the content of an entry."""
        event = entry.event
        alternatives = event.alternatives
        return cls(
            event.message_text,
            event.intent,
            event.confidence,
            event.timestamp,
            entry.event_id,
            event.phone_number,
            event.channel,
            event.language,
            event.model_version or "",
            event.session_id,
            event.message_id,
            event.current_step,
            None
            if alternatives is None
            else [{"intent": a.intent, "confidence": a.confidence} for a in alternatives],
        )

    def differences(self, other: Content) -> list[str]:
        """Name the fields in which two contents differ."""
        return [name for name, a, b in zip(self._fields, self, other, strict=True) if a != b]
