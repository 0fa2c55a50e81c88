"""The model card: everything in JSON, and a page that takes no orders from customers."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from intentloop_training.build import build
from intentloop_training.card import ModelCard
from intentloop_training.progress import untold
from intentloop_training.recipe import Recipe
from intentloop_training.registry import ModelRegistry
from support.lessons import DATASET, NOW, misspelt, reviewed, snapshot, some_utterances

EVIL = '<script>alert("x")</script>'
ROWS = [
    replace(row, intent=EVIL if row.intent == "coupon" else row.intent, simulated=number < 3)
    for number, row in enumerate(reviewed(misspelt(some_utterances(), times=2)))
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    registry = ModelRegistry(tmp_path_factory.mktemp("models"), DATASET)
    build(
        snapshot(ROWS),
        registry,
        "v1",
        Recipe(),
        now=lambda: NOW,
        progress=untold,
    )
    return registry.folder_of("v1")


@pytest.fixture(scope="module")
def card(folder: Path) -> ModelCard:
    return ModelCard.load(folder)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, _attributes: object) -> None:
        self.found.append(tag)


def test_it_says_what_the_model_was_made_of(card: ModelCard) -> None:
    assert card.snapshot.rows == card.snapshot.reviewed == len(ROWS)
    assert card.snapshot.simulated_reviews == 3
    assert card.snapshot.first_created_at == NOW
    assert len(card.snapshot.ids_hash) == 64
    assert card.selection.holdout + sum(card.selection.left_out.values()) < len(ROWS)
    assert card.code["scikit-learn"]
    assert card.parameters.regularisation == 1


def test_seeds_are_said_and_left_out_of_what_is_said_of_traffic(tmp_path: Path) -> None:
    traffic = [replace(row, predicted_intent="wrong") for row in ROWS]
    seeds = [replace(row, id=f"seed-{row.id}", is_seed=True) for row in ROWS]
    registry = ModelRegistry(tmp_path, DATASET)
    card = build(
        snapshot([*traffic, *seeds]), registry, "v1", Recipe(), now=lambda: NOW, progress=untold
    )

    assert card.snapshot.seeds == len(seeds)
    assert card.review_rate.of == len(traffic)
    assert card.logged_accuracy.value == 0
    assert card.logged_accuracy.of == card.evaluation.size / 2
    page = (registry.folder_of("v1") / "card.html").read_text()
    assert f"{len(seeds)} of {2 * len(seeds)} examples are seeds" in page


def test_it_says_how_good_the_model_is(card: ModelCard) -> None:
    evaluation = card.evaluation
    low, high = evaluation.accuracy.interval

    assert low < evaluation.accuracy.value < high
    assert 0 < evaluation.macro_f1 <= 1
    assert {one.intent for one in evaluation.intents} >= {"track_order", EVIL}
    assert sum(one.recall.of for one in evaluation.intents) == evaluation.size
    assert all(one.intent != one.predicted for one in evaluation.confusions)
    assert 0 <= card.review_rate.value < 1


def test_json_says_the_same(card: ModelCard) -> None:
    assert ModelCard.model_validate_json(card.model_dump_json(by_alias=True)) == card
    assert '"macroF1"' in card.model_dump_json(by_alias=True)


def test_an_intent_with_markup_is_shown_and_not_obeyed(folder: Path) -> None:
    page = (folder / "card.html").read_text()
    tags = Tags()
    tags.feed(page)

    assert "script" not in tags.found
    assert "&lt;script&gt;" in page
    assert tags.found.count("svg") == 2


def test_simulated_reviews_are_marked(folder: Path) -> None:
    assert f"3 of {len(ROWS)} reviews were simulated" in (folder / "card.html").read_text()
