"""Public data sets, where they are at hand: DATA=folder, or ../shared/data beside the project."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from intentloop_training.corpora import Corpus, Labelled, lessons, load_bitext, load_clinc150
from intentloop_training.labels import doubts, new_contradictions
from intentloop_training.parameters import Parameters
from intentloop_training.prediction import OUT_OF_SCOPE
from intentloop_training.simulation import accuracy, at_random, by_queue, learning_curve
from intentloop_training.trainer import Trained, train

DATA = Path(os.environ.get("DATA") or Path(__file__).parents[2] / "../shared/data")


def corpus(load: Callable[[Path], Corpus], name: str) -> Corpus:
    if not (DATA / name).is_dir():
        pytest.skip(f"no data set at {DATA / name}: set DATA to a folder with {name}/")
    return load(DATA / name)


@pytest.fixture(scope="module")
def bitext() -> Corpus:
    return corpus(load_bitext, "bitext")


@pytest.fixture(scope="module")
def trained(bitext: Corpus) -> Trained:
    return train(lessons(bitext.training), Parameters(), "v1")


def test_bitext_is_understood(bitext: Corpus, trained: Trained) -> None:
    # Measured: 0.998.
    assert accuracy(trained.model, bitext.test) > 0.985


@pytest.mark.parametrize("intent", ["cancel_order", "track_refund", "newsletter_subscription"])
def test_a_tenth_of_an_intents_labels_flipped_to_any_others_is_caught(
    bitext: Corpus, trained: Trained, intent: str
) -> None:
    rng = Random(3)
    intents = sorted({one.intent for one in bitext.training})
    flipped = [
        Labelled(text, rng.choice(intents)) if label == intent and rng.random() < 0.1
        else Labelled(text, label)
        for text, label in bitext.training
    ]  # fmt: skip
    now = doubts(train(lessons(flipped), Parameters(), "v2").cross_check)
    found = new_contradictions(doubts(trained.cross_check), now, 0.05)

    assert intent in {one.intent for one in found}


def test_reviewing_what_the_queue_proposes_beats_reviewing_at_random(bitext: Corpus) -> None:
    ends = [
        list(
            learning_curve(
                bitext.training, bitext.test, choose, per_intent=5, per_round=80, rounds=4, seed=0
            )
        )[-1].accuracy
        for choose in (by_queue, at_random)
    ]
    # Measured over 5 seeds: 0.98 and 0.95.
    assert ends[0] > ends[1]


def test_clinc150_is_read_with_its_out_of_scope_parts() -> None:
    clinc = corpus(load_clinc150, "clinc150")

    assert [len(part) for part in clinc[1:]] == [15_100, 3_100, 5_500]
    assert sum(one.intent == OUT_OF_SCOPE for one in clinc.test) == 1_000
    few = sorted({one.intent for one in clinc.training} - {OUT_OF_SCOPE})[:20]
    taught = [one for one in clinc.training if one.intent in few]
    model = train(lessons(taught), Parameters(), "v1").model
    assert accuracy(model, [one for one in clinc.test if one.intent in few]) > 0.93
