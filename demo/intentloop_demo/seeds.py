"""What the bot was taught before it had traffic, as a file that training jobs read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from intentloop_demo.utterances import Utterance
from intentloop_schemas.event import DEFAULT_DATASET
from intentloop_sink.catalogue.examples import REVIEWED

_LONG_AGO = "2020-01-01T00:00:00Z"


def write_seeds(folder: Path, utterances: Sequence[Utterance]) -> None:
    """Write the file that INTENTLOOP_SEEDS_DIR leads to. It appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(_seed(number, one)) for number, one in enumerate(utterances))
    unfinished = folder / f".{DEFAULT_DATASET}.new"
    unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
    unfinished.replace(folder / f"{DEFAULT_DATASET}.jsonl")


def _seed(number: int, utterance: Utterance) -> dict[str, Any]:
    return {
        "id": f"seed-{number}",
        "input": utterance.text,
        "intent": utterance.intent,
        "predictedIntent": utterance.intent,
        "confidence": 1.0,
        "tags": [REVIEWED],
        "createdAt": _LONG_AGO,
        "language": utterance.language,
    }
