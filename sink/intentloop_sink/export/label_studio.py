"""Tasks for Label Studio: what the model said as a prediction, what a reviewer said as annotation.

Its labelling interface for them:

    <View>
      <Text name="text" value="$text"/>
      <Choices name="intent" toName="text"> ... </Choices>
    </View>
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from intentloop_sink.catalogue.examples import REVIEWED
from intentloop_sink.export.jsonl import as_json
from intentloop_sink.export.provenance import Provenance, Tally
from intentloop_sink.export.row import Row

_UNKNOWN_MODEL = "unknown"


class LabelStudio:
    """One JSON array; where it comes from is in the `meta` of each task."""

    def __init__(self) -> None:
        self._separator = "\n"
        self._meta: dict[str, Any] = {}

    def begin(self, provenance: Provenance) -> bytes:
        """Return the beginning of the array."""
        self._meta = {"provenance": provenance.as_json()}
        return b"["

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Return a task for each."""
        return "".join(map(self._task, rows)).encode()

    def end(self, provenance: Provenance, tally: Tally) -> bytes:  # noqa: ARG002 - see `Writer`
        """Return the end of the array."""
        return b"\n]\n"

    def _task(self, row: Row) -> str:
        task = {**_task(row), "meta": self._meta}
        text = self._separator + json.dumps(task, ensure_ascii=False)
        self._separator = ",\n"
        return text


def _task(row: Row) -> dict[str, Any]:
    example = row.example
    data = as_json(row)
    text = data.pop("input")
    predicted = {
        "model_version": example.model_version or _UNKNOWN_MODEL,
        "score": example.confidence,
        "result": [_choice(example.predicted_intent)],
    }
    reviewed = [{"result": [_choice(example.intent)]}] if REVIEWED in example.tags else []
    return {"data": {"text": text, **data}, "predictions": [predicted], "annotations": reviewed}


def _choice(intent: str) -> dict[str, Any]:
    return {
        "from_name": "intent",
        "to_name": "text",
        "type": "choices",
        "value": {"choices": [intent]},
    }
