"""Building a model: a snapshot in, a stored version with its card and verdict out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime

from intentloop_training.card import CODE, LessonFacts, ModelCard
from intentloop_training.evaluation import Rate, evaluate, judge, review_rate
from intentloop_training.examples import LabelledExample, Snapshot, SnapshotFacts
from intentloop_training.gate import Standing, decide
from intentloop_training.labels import doubts
from intentloop_training.progress import Progress
from intentloop_training.recipe import Recipe
from intentloop_training.registry import ModelRegistry
from intentloop_training.selection import select
from intentloop_training.trainer import Trained, train

NEWEST_MESSAGES = 2_000
"""So many of the newest messages tell how often a model would ask for review."""
_TRAINED = 0.85
"""Share of the whole that training takes."""


def build(
    snapshot: Snapshot,
    registry: ModelRegistry,
    version: str,
    recipe: Recipe,
    *,
    now: Callable[[], datetime],
    progress: Progress,
) -> ModelCard:
    """Train a model, judge it beside the current one, and store it; promoting is left to others.

    Blocks. Raises what `train` raises, ModelUnreadableError when the current model is damaged, and
    whatever `progress` raises to stop it.
    """
    started = time.monotonic()
    selection = select(snapshot.rows, recipe.selection)
    trained = train(
        selection.lessons,
        recipe.parameters,
        version,
        lambda what, share: progress(what, share * _TRAINED),
    )
    seconds = time.monotonic() - started
    current = _current(registry, selection.holdout)
    candidate = _candidate(trained, selection.holdout)
    progress(f"judged by {len(selection.holdout)} reviewed messages", 0.92)
    card = ModelCard(
        version=version,
        created_at=now(),
        snapshot=SnapshotFacts.of(snapshot),
        selection=LessonFacts.of(selection, snapshot.rows),
        selection_rule=recipe.selection,
        parameters=recipe.parameters,
        temperature=trained.model.temperature,
        threshold=trained.model.threshold,
        training_seconds=seconds,
        code=CODE,
        evaluation=evaluate(candidate.judgements),
        review_rate=review_rate(trained.model, snapshot.messages[-NEWEST_MESSAGES:], recipe.review),
        logged_accuracy=_logged_accuracy(selection.holdout),
        doubts=dict(candidate.doubts),
        compared_with=current.version if current else None,
        verdict=decide(
            current,
            candidate,
            recipe.gate,
            reviewed=snapshot.reviewed,
            rows=len(snapshot.rows),
        ),
    )
    with registry.adding(version) as folder:
        trained.model.save(folder)
        card.save(folder)
        progress("stored the model", 0.98)
    return card


def _candidate(trained: Trained, holdout: Sequence[LabelledExample]) -> Standing:
    model = trained.model
    return Standing(
        model.version, model.intents, judge(model, holdout), doubts(trained.cross_check)
    )


def _current(registry: ModelRegistry, holdout: Sequence[LabelledExample]) -> Standing | None:
    model = registry.load_current()
    if model is None:
        return None
    card = ModelCard.load(registry.folder_of(model.version))
    return Standing(model.version, model.intents, judge(model, holdout), card.doubts)


def _logged_accuracy(holdout: Sequence[LabelledExample]) -> Rate:
    answered = [example for example in holdout if not example.is_seed]
    right = sum(example.predicted_intent == example.intent for example in answered)
    return Rate.from_counts(right, len(answered))
