"""An intent model: n-grams, a linear classifier, a temperature and a threshold; on disk and off."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.svm import LinearSVC

from intentloop_schemas.review import is_fallback
from intentloop_schemas.texts import normalise
from intentloop_training.featuriser import Featuriser
from intentloop_training.prediction import OUT_OF_SCOPE, Guess, Prediction

MAX_ALTERNATIVES = 9
"""With the answer itself ten, which is what Rasa ranks."""
_WEIGHTS, _SETTINGS = "model.skops", "model.json"


class ModelUnreadableError(Exception):
    """A model's files are missing, damaged, or hold what is no model."""


@dataclass(frozen=True)
class IntentModel:
    """A trained model; `version` names it in every answer.

    `temperature` divides the classifier's scores, so that the confidence is how often it is right
    (Guo et al. 2017, section 4.2). Below the probability `threshold` the answer is out of scope.
    """

    version: str
    featuriser: Featuriser
    classifier: LinearSVC
    temperature: float
    threshold: float

    @property
    def intents(self) -> Sequence[str]:
        """The intents that it knows, sorted."""
        return [str(intent) for intent in self.classifier.classes_]

    def parse(self, texts: Sequence[str]) -> list[Prediction]:
        """Return what each text means. Many at once are far quicker than one by one."""
        if not texts:
            return []
        features = self.featuriser.transform([normalise(text) for text in texts])
        rows = probabilities(scores(self.classifier, features), self.temperature)
        intents = self.intents
        return [self._prediction(row, intents) for row in rows]

    def _prediction(self, row: NDArray[np.float64], intents: Sequence[str]) -> Prediction:
        best = np.argsort(-row, kind="stable")[: MAX_ALTERNATIVES + 1]
        guesses = [Guess(intents[index], round(float(row[index]), 6)) for index in best]
        if guesses[0].confidence < self.threshold and not is_fallback(guesses[0].intent):
            refusal = next(filter(is_fallback, intents), OUT_OF_SCOPE)
            guesses = [guess for guess in guesses if guess.intent != refusal]
            guesses.insert(0, Guess(refusal, round(1 - guesses[0].confidence, 6)))
        return Prediction(*guesses[0], tuple(guesses[1 : MAX_ALTERNATIVES + 1]))

    def save(self, folder: Path) -> None:
        """Write the model's files into a folder that exists. Nothing in them is pickled."""
        from skops import io

        io.dump(
            {"ngrams": self.featuriser.ngrams, "classifier": self.classifier}, folder / _WEIGHTS
        )
        settings = {
            "version": self.version,
            "temperature": self.temperature,
            "threshold": self.threshold,
            "embeddingScale": self.featuriser.embedding_scale,
        }
        (folder / _SETTINGS).write_text(json.dumps(settings, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> IntentModel:
        """Read a model. Only types that skops knows to be harmless are ever made.

        Raises ModelUnreadableError; intentloop_training.embeddings.EmbeddingsMissingError comes
        with the first parse when the model wants embeddings that are not installed.
        """
        from skops import io

        try:
            settings = json.loads((folder / _SETTINGS).read_text())
            parts = io.load(folder / _WEIGHTS, trusted=[])
            featuriser = Featuriser(parts["ngrams"], settings["embeddingScale"])
            return cls(
                settings["version"],
                featuriser,
                parts["classifier"],
                settings["temperature"],
                settings["threshold"],
            )
        except Exception as error:
            raise ModelUnreadableError(f"{folder} holds no readable model: {error}") from error


def scores(classifier: LinearSVC, features: Any) -> NDArray[np.float64]:
    """Return one column of scores for each intent, also when there are only two."""
    raw = np.asarray(classifier.decision_function(features), dtype=np.float64)
    return np.column_stack([-raw, raw]) if raw.ndim == 1 else raw


def probabilities(scores: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Return scores as probabilities: softmax of the scores divided by the temperature."""
    return np.asarray(softmax(scores / temperature, axis=1))
