"""In which order doubtful messages are worth a reviewer's time."""

from __future__ import annotations

from collections.abc import Sequence

from intentloop_schemas import ReviewRule
from intentloop_training.evaluation import is_flagged
from intentloop_training.prediction import Prediction


def margin(prediction: Prediction) -> float:
    """Return how far the best guess is ahead of the second, from 0 to 1.

    The smallest margin first is margin sampling: Scheffer, Decomain and Wrobel 2001.
    """
    second = prediction.alternatives[0].confidence if prediction.alternatives else 0.0
    return prediction.confidence - second


def review_order(predictions: Sequence[Prediction], rule: ReviewRule) -> list[int]:
    """Return the positions of all predictions: the flagged ones first, close calls before others.

    The order of equals does not change.
    """
    return sorted(
        range(len(predictions)),
        key=lambda position: (
            not is_flagged(predictions[position], rule),
            margin(predictions[position]),
        ),
    )
