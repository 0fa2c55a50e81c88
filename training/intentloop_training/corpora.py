"""Public data sets, for benches and tests: CLINC150 and Bitext's customer support."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from intentloop_training.examples import LabelledExample
from intentloop_training.prediction import OUT_OF_SCOPE
from intentloop_training.selection import Lesson
from intentloop_training.text import normalise

_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class Labelled(NamedTuple):
    """A text and its true intent."""

    text: str
    intent: str


class Corpus(NamedTuple):
    """The parts of a data set; out-of-scope texts are labelled OUT_OF_SCOPE."""

    name: str
    training: list[Labelled]
    validation: list[Labelled]
    test: list[Labelled]


def load_clinc150(folder: Path) -> Corpus:
    """Read data_full.json of Larson et al. 2019, out-of-scope parts included."""
    parts = json.loads((folder / "data_full.json").read_text(encoding="utf-8"))

    def part(name: str) -> list[Labelled]:
        in_scope = [Labelled(text, intent) for text, intent in parts[name]]
        return in_scope + [Labelled(text, OUT_OF_SCOPE) for text, _ in parts[f"oos_{name}"]]

    return Corpus("CLINC150", part("train"), part("val"), part("test"))


def load_bitext(folder: Path) -> Corpus:
    """Read train.csv, dev.csv and test.csv of Bitext's customer support data set."""
    return Corpus("Bitext", *(_read(folder / f"{name}.csv") for name in ("train", "dev", "test")))


def lessons(texts: Iterable[Labelled]) -> list[Lesson]:
    """Return texts as lessons of equal weight, each text and intent once."""
    known = {(normalise(text), intent) for text, intent in texts}
    return [Lesson(key, intent, 1.0, reviewed=True) for key, intent in sorted(known) if key]


def examples(texts: Iterable[Labelled], prefix: str = "ex") -> list[LabelledExample]:
    """Return texts as reviewed examples that some NLU had got right."""
    return [
        LabelledExample(
            f"{prefix}-{number}", text, intent, intent, 1.0, reviewed=True, created_at=_LONG_AGO
        )
        for number, (text, intent) in enumerate(texts)
    ]


def _read(path: Path) -> list[Labelled]:
    with path.open(encoding="utf-8", newline="") as file:
        return [Labelled(row["utterance"], row["intent"]) for row in csv.DictReader(file)]
