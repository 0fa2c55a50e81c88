"""Where lessons come from: files, and files beside a dataset."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from intentloop_demo.seeds import write_seeds
from intentloop_demo.utterances import Utterance
from intentloop_schemas.event import DEFAULT_DATASET
from intentloop_training.examples import LabelledExample, Snapshot
from intentloop_training.sources import FileExamples, SeededExamples, UnreadableExamplesError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MESSAGE = LabelledExample("ex-1", "hi", "greeting", "greeting", 0.9, reviewed=False, created_at=NOW)


class Dataset:
    """Holds what it was given."""

    def __init__(self, *rows: LabelledExample) -> None:
        self.rows = rows

    def snapshot(self, dataset_id: str) -> Snapshot:
        return Snapshot.of(dataset_id, NOW, self.rows)


def test_seeds_stand_beside_the_dataset_as_reviewed_and_older(tmp_path: Path) -> None:
    write_seeds(tmp_path, [Utterance("thanks", "hi", "धन्यवाद")])

    snapshot = SeededExamples(Dataset(MESSAGE), FileExamples(tmp_path)).snapshot(DEFAULT_DATASET)
    seed, message = snapshot.rows
    assert (seed.text, seed.intent, seed.language) == ("धन्यवाद", "thanks", "hi")
    assert (seed.is_seed, seed.reviewed, message.is_seed) == (True, True, False)
    assert snapshot.messages == (MESSAGE,)
    assert snapshot.as_of == NOW


def test_the_dataset_has_the_last_word_about_a_seed(tmp_path: Path) -> None:
    write_seeds(tmp_path, [Utterance("thanks", "en", "cheers")])
    [seed] = FileExamples(tmp_path).snapshot(DEFAULT_DATASET).rows
    corrected = LabelledExample(seed.id, "cheers", "goodbye", "thanks", 1, True, NOW)

    both = SeededExamples(Dataset(corrected), FileExamples(tmp_path)).snapshot(DEFAULT_DATASET)
    assert both.rows == (corrected,)


def test_a_dataset_without_seeds_is_as_it_was(tmp_path: Path) -> None:
    seeded = SeededExamples(Dataset(MESSAGE), FileExamples(tmp_path))

    assert seeded.snapshot("ds-other").rows == (MESSAGE,)


def test_a_damaged_line_of_seeds_is_named(tmp_path: Path) -> None:
    (tmp_path / "ds.jsonl").write_text('{"id": "seed-1"}\n')

    with pytest.raises(UnreadableExamplesError, match=r"ds\.jsonl, line 1"):
        SeededExamples(Dataset(), FileExamples(tmp_path)).snapshot("ds")
