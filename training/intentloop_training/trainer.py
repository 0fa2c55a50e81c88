"""Training: lessons in, a calibrated model out. The same lessons and seed, the same model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.svm import LinearSVC

from intentloop_schemas.review import is_fallback
from intentloop_training.featuriser import Featuriser
from intentloop_training.model import IntentModel, probabilities, scores
from intentloop_training.parameters import Parameters
from intentloop_training.progress import Progress, untold
from intentloop_training.selection import Lesson
from intentloop_training.text import place

FOLDS = 3
STEPS = FOLDS + 1
_TOLERANCE = 1e-2
_LOG_TEMPERATURES = (-4.0, 4.0)


class TooFewExamplesError(Exception):
    """There is nothing that a model could be trained on."""


@dataclass(frozen=True)
class CrossCheck:
    """What models that had not seen a lesson made of it, lesson by lesson."""

    lessons: list[Lesson]
    predicted: NDArray[np.str_]
    confidence: NDArray[np.float64]


@dataclass(frozen=True)
class Trained:
    """A model, and the predictions on its own lessons by models that had not seen them."""

    model: IntentModel
    cross_check: CrossCheck


def train(
    lessons: Sequence[Lesson],
    parameters: Parameters,
    version: str,
    progress: Progress = untold,
) -> Trained:
    """Train a model. Blocks: a second for 2,000 lessons, half a minute for 15,000 of 150 intents.

    Calibrates by cross-validation over texts, then trains on everything.

    Raises:
        TooFewExamplesError: fewer than two intents.
        intentloop_training.embeddings.EmbeddingsMissingError: embeddings are not installed.
    """
    lessons = sorted(lessons, key=lambda lesson: (lesson.key, lesson.intent))
    labels = np.array([lesson.intent for lesson in lessons], dtype=str)
    _require_two_intents(labels)
    texts = [lesson.key for lesson in lessons]
    weights = np.array([lesson.weight for lesson in lessons])
    featuriser = Featuriser.fit(texts, parameters)
    features = featuriser.transform(texts)
    progress("read the texts", 1 / (STEPS + 1))

    raw = np.full((len(lessons), len(np.unique(labels))), -np.inf)
    for fold, is_in in enumerate(_folds(texts, parameters.seed)):
        raw[is_in] = _scores_of_unseen(features, labels, weights, is_in, parameters)
        progress(f"cross-checked part {fold + 1} of {FOLDS}", (fold + 2) / (STEPS + 1))
    temperature = _temperature(raw, labels)
    cross_check = _cross_check(raw, lessons, temperature)
    threshold = _threshold(cross_check, parameters.out_of_scope_cost)

    classifier = _fit(features, labels, weights, parameters)
    classifier.coef_ = classifier.coef_.astype(np.float32)
    progress("trained on everything", 1.0)
    model = IntentModel(version, featuriser, classifier, temperature, threshold)
    return Trained(model, cross_check)


def _require_two_intents(labels: NDArray[np.str_]) -> None:
    intents = np.unique(labels)
    if len(intents) < 2:  # noqa: PLR2004 - one against another
        known = f"only {str(intents[0])!r} has" if len(intents) else "none has"
        raise TooFewExamplesError(
            f"at least two intents need examples to learn from, and {known} any: review more "
            "messages, or lower the confidence from which unreviewed ones are learned"
        )


def _folds(texts: Sequence[str], seed: int) -> list[NDArray[np.bool_]]:
    """Return FOLDS masks; copies of a text with different labels fall into one part."""
    parts = np.array([int(place(text, f"fold {seed}") * FOLDS) for text in texts])
    return [parts == part for part in range(FOLDS)]


def _fit(features: Any, labels: Any, weights: Any, parameters: Parameters) -> LinearSVC:
    classifier = LinearSVC(
        C=parameters.regularisation, tol=_TOLERANCE, random_state=parameters.seed
    )
    # Weights are relative: their mean of 1 leaves the regularisation as it is.
    return classifier.fit(features, labels, sample_weight=weights / weights.mean())


def _scores_of_unseen(
    features: Any, labels: Any, weights: Any, is_in: NDArray[np.bool_], parameters: Parameters
) -> NDArray[np.float64]:
    """Return the scores of one part from a classifier that was trained on the others.

    An intent that the others lack has the score of minus infinity.
    """
    intents = np.unique(labels)
    result = np.full((int(is_in.sum()), len(intents)), -np.inf)
    known = np.unique(labels[~is_in])
    if len(known) > 1 and is_in.any():
        classifier = _fit(features[~is_in], labels[~is_in], weights[~is_in], parameters)
        result[:, np.searchsorted(intents, classifier.classes_)] = scores(
            classifier, features[is_in]
        )
    return result


def _temperature(raw: NDArray[np.float64], labels: NDArray[np.str_]) -> float:
    """Return the temperature with the lowest log loss (Guo et al. 2017, section 4.2)."""
    truth = np.searchsorted(np.unique(labels), labels)
    true_scores = raw[np.arange(len(raw)), truth]
    is_judged = np.isfinite(true_scores)
    if not is_judged.any():
        return 1.0

    def log_loss(log_temperature: float) -> float:
        rows = probabilities(raw[is_judged], float(np.exp(log_temperature)))
        chosen = rows[np.arange(len(rows)), truth[is_judged]]
        return float(-np.log(np.maximum(chosen, 1e-12)).mean())

    found = minimize_scalar(log_loss, bounds=_LOG_TEMPERATURES, method="bounded")
    return float(np.exp(found.x))


def _cross_check(
    raw: NDArray[np.float64], lessons: Sequence[Lesson], temperature: float
) -> CrossCheck:
    intents = np.unique([lesson.intent for lesson in lessons])
    is_judged = np.asarray(np.isfinite(raw).any(axis=1))
    rows = probabilities(raw[is_judged], temperature)
    best = rows.argmax(axis=1)
    judged = [lesson for lesson, is_one in zip(lessons, is_judged, strict=True) if is_one]
    return CrossCheck(judged, intents[best], rows[np.arange(len(rows)), best])


def _threshold(check: CrossCheck, cost: float) -> float:
    """Return the highest threshold that refuses no more than this share of in-scope lessons."""
    is_in_scope = np.array([not is_fallback(lesson.intent) for lesson in check.lessons], dtype=bool)
    labels = np.array([lesson.intent for lesson in check.lessons], dtype=str)
    is_right = is_in_scope & (labels == check.predicted)
    confidences = np.sort(check.confidence[is_right])
    refused = int(cost * is_in_scope.sum())
    return float(confidences[refused]) if refused < len(confidences) else 0.0
