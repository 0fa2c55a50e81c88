"""One call of `log()`, as the bot gave it: nothing is checked before the thread takes it."""

from __future__ import annotations

from typing import Any, NamedTuple


class Utterance(NamedTuple):
    """The arguments of one call, and when it came."""

    phone_number: Any
    message_text: Any
    intent: Any
    confidence: Any
    current_step: Any
    timestamp: Any
    channel: Any
    language: Any
    model_version: Any
    session_id: Any
    message_id: Any
    alternatives: Any
    dataset_id: Any
    event_id: Any
    logged_at: int
    """Epoch ms of the call; the event's time when none was given."""
