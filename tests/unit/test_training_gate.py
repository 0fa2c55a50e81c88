"""The gate as a dataset meets it: what is worse stays out, and what is better passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from intentloop_training.build import build
from intentloop_training.card import ModelCard
from intentloop_training.examples import LabelledExample
from intentloop_training.gate import GateRule, Standing, decide
from intentloop_training.labels import Doubts, new_contradictions
from intentloop_training.progress import untold
from intentloop_training.recipe import Recipe
from intentloop_training.registry import ModelRegistry, OvertakenError
from support.lessons import (
    DATASET,
    NOW,
    SOME_INTENTS,
    is_lesson,
    misspelt,
    reviewed,
    snapshot,
    some_utterances,
)

ROWS = reviewed(misspelt(some_utterances(), times=3))
Train = Callable[[str, list[LabelledExample]], ModelCard]


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(tmp_path, DATASET)


@pytest.fixture
def train(registry: ModelRegistry) -> Train:
    """Build a model from rows, and promote it if it passes."""

    def run(version: str, rows: list[LabelledExample]) -> ModelCard:
        card = build(
            snapshot(rows),
            registry,
            version,
            Recipe(),
            now=lambda: NOW,
            progress=untold,
        )
        if card.verdict.passed:
            registry.promote_instead_of(card.compared_with, version)
        return card

    return run


def relabelled(
    rows: list[LabelledExample], intent: str, share: float, label: Callable[[Random], str]
) -> list[LabelledExample]:
    """Rows of which a share of one intent's labels is wrong, in lessons and holdout alike."""
    rng = Random(4)
    of_intent = [row.id for row in rows if row.intent == intent]
    wrong = set(rng.sample(of_intent, round(share * len(of_intent))))
    return [replace(row, intent=label(rng)) if row.id in wrong else row for row in rows]


def test_the_first_model_passes(train: Train, registry: ModelRegistry) -> None:
    card = train("v1", ROWS)

    assert card.verdict.passed
    assert card.compared_with is None
    assert registry.promotions().current == "v1"


def test_without_reviews_a_model_is_trained_and_not_promoted(
    train: Train, registry: ModelRegistry
) -> None:
    card = train("v1", [replace(row, reviewed=False, confidence=0.95) for row in ROWS])

    assert card.verdict.reasons == [f"0 of {len(ROWS)} reviewed"]
    assert registry.has("v1")
    assert registry.promotions().current is None


def test_a_holdout_that_is_too_small_proves_nothing(train: Train) -> None:
    few = [row for row in ROWS if is_lesson(row.text)] + [
        row for row in ROWS if not is_lesson(row.text)
    ][:19]

    [reason] = train("v1", few).verdict.reasons
    assert reason.startswith("the holdout has 19 messages and takes 20")


def test_a_true_improvement_passes(train: Train, registry: ModelRegistry) -> None:
    little = [row for number, row in enumerate(ROWS) if number % 6 == 0 or not is_lesson(row.text)]
    before = train("v1", little)
    after = train("v2", ROWS)

    assert after.verdict.passed, after.verdict.reasons
    assert after.compared_with == "v1"
    assert after.evaluation.accuracy.value > before.evaluation.accuracy.value
    assert registry.promotions().current == "v2"


@pytest.mark.parametrize(
    "label",
    [
        pytest.param(lambda _rng: "coupon", id="all to one intent"),
        pytest.param(
            lambda rng: rng.choice([i for i in SOME_INTENTS if i != "track_order"]),
            id="to any intents",
        ),
    ],
)
def test_flipped_labels_of_one_intent_are_caught(
    train: Train, registry: ModelRegistry, label: Callable[[Random], str]
) -> None:
    train("v1", ROWS)
    card = train("v2", relabelled(ROWS, "track_order", 0.1, label))

    assert any("track_order contradict" in reason for reason in card.verdict.reasons), (
        card.verdict.reasons
    )
    assert registry.promotions().current == "v1"


def test_a_dropped_intent_is_caught(train: Train) -> None:
    train("v1", ROWS)
    card = train(
        "v2", [row for row in ROWS if row.intent != "refund_status" or not is_lesson(row.text)]
    )

    assert "intents dropped: refund_status" in card.verdict.reasons
    assert any(reason.startswith("refund_status falls") for reason in card.verdict.reasons)


def test_an_intent_that_vanished_from_the_data_is_caught_too(train: Train) -> None:
    train("v1", ROWS)
    card = train("v2", [row for row in ROWS if row.intent != "refund_status"])

    assert card.verdict.reasons == ["intents dropped: refund_status"]


def test_a_model_trained_on_its_own_mistakes_is_caught(train: Train) -> None:
    """An intent has few reviewed lessons left, and many that a wrong model was sure of."""
    train("v1", ROWS)
    own_mistakes = [
        replace(row, intent="cancel_order", reviewed=False, confidence=0.97)
        if row.intent == "refund_status" and is_lesson(row.text) and number % 10
        else row
        for number, row in enumerate(ROWS)
    ]
    reasons = train("v2", own_mistakes).verdict.reasons

    assert any(reason.startswith("refund_status falls") for reason in reasons), reasons
    assert any("v1 gets" in reason for reason in reasons), reasons


def test_mistakes_that_the_model_was_not_sure_of_are_not_learned(train: Train) -> None:
    train("v1", ROWS)
    unsure = [
        replace(row, id=f"new-{row.id}", text=f"{row.text} pls", intent="coupon", reviewed=False)
        for row in ROWS
        if row.intent == "refund_status"
    ]

    assert train("v2", [*ROWS, *unsure]).verdict.passed


def test_the_same_data_again_changes_nothing_and_passes(train: Train) -> None:
    first, again = train("v1", ROWS), train("v2", ROWS)

    assert again.verdict.passed
    assert again.verdict.differences == []
    assert again.evaluation == first.evaluation


def test_a_total_that_falls_is_refused_even_when_no_intent_falls_significantly() -> None:
    old, new = judged("v1", wrong=0), judged("v2", wrong=1)
    verdict = decide(old, new, GateRule(), reviewed=40, rows=40)

    assert verdict.reasons == ["39 of 40 right, v1 gets 40"]
    assert verdict.differences[0].lost == 1


def judged(version: str, wrong: int) -> Standing:
    from intentloop_training.evaluation import Judgement
    from intentloop_training.prediction import Prediction

    rows = reviewed(some_utterances(["coupon"]))[:40]
    judgements = [
        Judgement(row, Prediction("thanks" if number < wrong else "coupon", 0.9, ()))
        for number, row in enumerate(rows)
    ]
    return Standing(version, ["coupon", "thanks"], judgements)


def test_doubts_that_were_there_before_alarm_nobody() -> None:
    before = {"a": Doubts(confident=100, expected=2, otherwise={"b": 12})}
    as_before = {"a": Doubts(confident=110, expected=2, otherwise={"b": 14})}
    worse = {"a": Doubts(confident=110, expected=2, otherwise={"b": 35})}

    assert new_contradictions(before, as_before, 0.05) == []
    assert new_contradictions(before, worse, 0.05)
    assert new_contradictions({}, {"new": Doubts(confident=5, otherwise={"b": 1})}, 0.05) == []


def test_a_model_is_not_promoted_over_one_that_it_was_not_compared_with(
    train: Train, registry: ModelRegistry
) -> None:
    train("v1", ROWS)
    train("v2", ROWS)

    with pytest.raises(OvertakenError, match="meanwhile v2 became current"):
        registry.promote_instead_of(None, "v1")
