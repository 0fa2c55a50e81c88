"""One JSON object a line, with the names of the HTTP API."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from intentloop_sink.export.provenance import Provenance, Tally
from intentloop_sink.export.row import Row


def as_json(row: Row) -> dict[str, Any]:
    """Return all of a row for JSON."""
    example = row.example
    return {
        "id": example.id,
        "input": example.input,
        "intent": example.intent,
        "split": row.side,
        "predictedIntent": example.predicted_intent,
        "confidence": example.confidence,
        "reviewReasons": example.review_reasons,
        "tags": example.tags,
        "createdAt": example.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "channel": example.channel,
        "language": example.language,
        "modelVersion": example.model_version,
        "currentStep": example.current_step,
        "alternatives": example.alternatives,
        "sender": example.sender,
        "sessionId": example.session_id,
        "messageId": example.message_id,
    }


class JsonLines:
    """Only rows, because readers of JSON lines take every line for one."""

    def begin(self, provenance: Provenance) -> bytes:  # noqa: ARG002 - see `Writer`
        """Return nothing."""
        return b""

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Return a line for each."""
        lines = (json.dumps(as_json(row), ensure_ascii=False) for row in rows)
        return "".join(f"{line}\n" for line in lines).encode()

    def end(self, provenance: Provenance, tally: Tally) -> bytes:  # noqa: ARG002 - see `Writer`
        """Return nothing."""
        return b""
