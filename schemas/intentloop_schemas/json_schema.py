"""Generates the JSON Schemas in `schemas/json/`: `python -m intentloop_schemas.json_schema DIR`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pydantic import BaseModel

from intentloop_schemas.dead_letter import DeadLetter
from intentloop_schemas.event import Event
from intentloop_schemas.logger_report import LoggerReport

_MODELS: dict[str, type[BaseModel]] = {
    "event.v1.json": Event,
    "dead_letter.v1.json": DeadLetter,
    "logger_report.v1.json": LoggerReport,
}


def generate() -> dict[str, str]:
    """Return the text of each schema file by its name."""
    return {
        name: json.dumps(
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                **model.model_json_schema(by_alias=True),
            },
            indent=2,
        )
        + "\n"
        for name, model in _MODELS.items()
    }


def write(folder: Path) -> None:
    """Write every schema file into `folder`."""
    for name, text in generate().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
