"""Where lessons come from: files, and files beside a dataset."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from intentloop_demo.seeds import write_seeds
from intentloop_demo.utterances import Utterance
from intentloop_schemas.event import DEFAULT_DATASET
from intentloop_training.examples import LabelledExample, Snapshot
from intentloop_training.sources import (
    CatalogueExamples,
    FileExamples,
    SeededExamples,
    UnreadableExamplesError,
)
from support.api import DATASETS, configuration, conversation, running_api

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EXAMPLES = f"{DATASETS}/{DEFAULT_DATASET}/examples"
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


def test_in_json_mode_it_reads_what_the_api_keeps_with_its_edits(tmp_path: Path) -> None:
    with running_api(configuration(None, tmp_path)) as api:
        texts = ("track it", "cancel it", "spam")
        api.log(*(conversation(n, messageText=text) for n, text in enumerate(texts)))
        examples = {one["input"]: one["id"] for one in api.get(EXAMPLES).json()}
        api.patch(f"{EXAMPLES}/{examples['cancel it']}", json={"intent": "cancel_order"})
        api.patch(
            f"{EXAMPLES}/{examples['spam']}", json={"reviewed": True, "addTags": ["rejected"]}
        )
        api.log(conversation(9, messageText="newer"))

        rows = CatalogueExamples(tmp_path).snapshot(DEFAULT_DATASET).rows
        assert [(row.text, row.intent, row.reviewed, row.rejected) for row in rows] == [
            ("track it", "track_order", False, False),
            ("cancel it", "cancel_order", True, False),
            ("spam", "track_order", True, True),
            ("newer", "track_order", False, False),
        ]
        assert rows[1].predicted_intent == "track_order"
        assert rows[1].step == "main_menu"


def test_in_json_mode_without_files_a_dataset_is_empty(tmp_path: Path) -> None:
    assert CatalogueExamples(tmp_path / "nowhere").snapshot(DEFAULT_DATASET).rows == ()


def test_a_damaged_line_of_seeds_is_named(tmp_path: Path) -> None:
    (tmp_path / "ds.jsonl").write_text('{"id": "seed-1"}\n')

    with pytest.raises(UnreadableExamplesError, match=r"ds\.jsonl, line 1"):
        SeededExamples(Dataset(), FileExamples(tmp_path)).snapshot("ds")
