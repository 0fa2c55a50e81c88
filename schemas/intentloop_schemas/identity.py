"""Identities: what makes two records the same event, and the id of the row it becomes."""

from __future__ import annotations

import json
from hashlib import sha256

from intentloop_schemas.fields import EventFields


def event_identity(event: EventFields) -> str:
    """Return the event's own id, or `d1-` and a SHA-256 of its six seed fields.

    The digest is taken over the fields as UTF-8 JSON with sorted keys and no white space, so that
    producers in any language derive the same id. It must be taken before any masking.
    """
    if event.event_id is not None:
        return event.event_id
    seed = {
        "confidence": event.confidence,
        "currentStep": event.current_step,
        "intent": event.intent,
        "messageText": event.message_text,
        "phoneNumber": event.phone_number,
        "timestamp": event.timestamp,
    }
    canonical = json.dumps(seed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"d1-{sha256(canonical.encode()).hexdigest()}"


def example_id(dataset_id: str, event_id: str, timestamp_ms: int) -> str:
    """Return the id of the example row: `ex-<seconds>-<16 hex digits>`.

    Time comes first so that rows arrive in index order, which halves the cost of the index.
    """
    digest = sha256(f"{dataset_id}\n{event_id}".encode()).hexdigest()
    return f"ex-{timestamp_ms // 1000}-{digest[:16]}"
