"""Settings of training and of the server that answers bots."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from intentloop_schemas import ReviewRule
from intentloop_schemas.event import DEFAULT_DATASET, DatasetId
from intentloop_schemas.review import DEFAULT_THRESHOLD
from intentloop_training.gate import GateRule
from intentloop_training.jobs.runner import Pace
from intentloop_training.jobs.settings import JobSettings
from intentloop_training.parameters import Features, Parameters
from intentloop_training.recipe import Recipe
from intentloop_training.selection import SelectionRule


class TrainingSettings(JobSettings):
    """Where jobs and models are kept, what a model learns from, and what it has to show."""

    models_dir: Path = Path("var/models")
    """Folder of the models; runners and servers on several machines share it."""
    datasets_dir: Path | None = None
    """Folder of examples instead of those in FALLBACK_DIR, where there is no database:
    `<dataset>.jsonl`, as the HTTP API gives them."""
    seeds_dir: Path | None = None
    """Folder of what models learn besides traffic: `<dataset>.jsonl`, in the same form."""
    features: Features = Features.WORDS
    """What a model sees of a text: words, or embeddings, which are more exact for English."""
    holdout_share: float = Field(0.2, gt=0, lt=1)
    """Share of all texts that only judge models; raising it adds texts, lowering it leaks some."""
    learn_above: float = Field(0.9, ge=0, le=1)
    """Unreviewed messages are learned from when the NLU was at least this sure of them."""
    gate_level: float = Field(0.05, gt=0, lt=1)
    """Chance with which the gate may stop a model that is no worse than the current one."""
    min_holdout: int = Field(20, ge=1)
    """Reviewed messages in the holdout below which no model is promoted."""
    confidence_threshold: float = Field(
        DEFAULT_THRESHOLD, ge=0, le=1, alias="CONFIDENCE_THRESHOLD_FOR_REVIEW"
    )
    """Messages with a lower confidence count as flagged in a model's review rate."""
    job_heartbeat_seconds: float = Field(5, gt=0, le=60)
    """A runner says this often that it is alive."""
    job_stale_seconds: float = Field(30, gt=0, le=3_600)
    """A job whose runner has said nothing for this long is given to another one."""

    @property
    def recipe(self) -> Recipe:
        """How models are built."""
        return Recipe(
            Parameters.for_features(self.features),
            SelectionRule(holdout_share=self.holdout_share, min_confidence=self.learn_above),
            GateRule(self.gate_level, self.min_holdout),
            ReviewRule(self.confidence_threshold),
        )

    @property
    def pace(self) -> Pace:
        """How a runner keeps time."""
        return Pace(heartbeat=self.job_heartbeat_seconds, stale=self.job_stale_seconds)


class NluSettings(BaseSettings):
    """The server that answers bots."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        env_prefix="INTENTLOOP_NLU_",
        frozen=True,
        use_attribute_docstrings=True,
    )

    dataset: DatasetId = DEFAULT_DATASET
    """Dataset whose current model answers."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all."""
    port: int = Field(5005, ge=0, le=65_535)
    """Port to listen on."""
    reload_seconds: float = Field(1, gt=0, le=3_600)
    """A promoted model answers at most this much later."""
