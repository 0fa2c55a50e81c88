"""What a job of the kind nlu-train does: snapshot, build, promote."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from intentloop_schemas.failpoint import Failpoint, no_failpoint
from intentloop_training.build import build
from intentloop_training.card import ModelCard
from intentloop_training.examples import Examples
from intentloop_training.jobs.job import Job
from intentloop_training.progress import Progress
from intentloop_training.recipe import Recipe
from intentloop_training.registry import ModelRegistry, OvertakenError

NOT_PROMOTED = "not promoted: "


@dataclass(frozen=True)
class NluTraining:
    """Trains models from examples into the folder of models. Can be done again at any point.

    A model is named after its job. What a dead runner left whole is not built a second time, and
    what it had promoted is not promoted again.
    """

    examples: Examples
    models: Path
    recipe: Recipe
    failpoint: Failpoint = no_failpoint
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def __call__(self, job: Job, progress: Progress) -> dict[str, Any]:
        """Do the job, and return the fields that it ends with. Raises what `build` raises."""
        registry = ModelRegistry(self.models, job.dataset_id)
        card = self._card(job, registry, progress)
        self.failpoint("jobs.before_promote")
        reason = _promote(registry, card)
        return {
            "snapshot": card.snapshot,
            "result": summary(card),
            "model_version": card.version,
            "promoted": reason is None,
            "reason": reason and f"{NOT_PROMOTED}{reason}",
        }

    def _card(self, job: Job, registry: ModelRegistry, progress: Progress) -> ModelCard:
        if registry.has(job.version):
            progress("found the model that an earlier attempt had stored", 0.98)
            return ModelCard.load(registry.folder_of(job.version))
        snapshot = self.examples.snapshot(job.dataset_id)
        progress(f"read {len(snapshot.rows)} messages, {snapshot.reviewed} reviewed", 0.02)
        return build(snapshot, registry, job.version, self.recipe, now=self.now, progress=progress)


def summary(card: ModelCard) -> dict[str, Any]:
    """Return a card's figures for the job that made it; the rest stays in the card."""
    evaluation = card.evaluation
    return {
        "accuracy": evaluation.accuracy.model_dump(mode="json", by_alias=True),
        "macroF1": evaluation.macro_f1,
        "calibrationError": evaluation.calibration_error,
        "reviewRate": card.review_rate.model_dump(mode="json", by_alias=True),
        "lessons": card.selection.lessons,
        "holdout": card.selection.holdout,
        "comparedWith": card.compared_with,
        "reasons": card.verdict.reasons,
        "differences": [
            difference.model_dump(mode="json", by_alias=True)
            for difference in card.verdict.differences
        ],
    }


def _promote(registry: ModelRegistry, card: ModelCard) -> str | None:
    """Make the model current if it passed; return why it is not."""
    if not card.verdict.passed:
        return "; ".join(card.verdict.reasons)
    try:
        registry.promote_instead_of(card.compared_with, card.version)
    except OvertakenError as error:
        return str(error)
    return None
