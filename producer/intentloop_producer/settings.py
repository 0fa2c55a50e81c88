"""Settings of the logger, read once when it is made."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from intentloop_schemas import CONVERSATIONS_TOPIC
from intentloop_schemas.review import DEFAULT_THRESHOLD


class LoggerSettings(BaseSettings):
    """Whether a chatbot's conversations are logged, where to, and how that is reported."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        frozen=True,
        use_attribute_docstrings=True,
        validate_by_name=True,
    )

    enabled: bool = Field(default=True, alias="CONVERSATION_LOGGING_ENABLED")
    """With false the logger does nothing: no thread, no socket."""
    topic: str = Field(CONVERSATIONS_TOPIC, min_length=1, alias="INTENTLOOP_TOPIC")
    """Topic that the events are sent to."""
    confidence_threshold: float = Field(
        DEFAULT_THRESHOLD, ge=0, le=1, alias="CONFIDENCE_THRESHOLD_FOR_REVIEW"
    )
    """Messages with a lower confidence are counted as flagged in the log line."""
    batch_size: int = Field(10, ge=1, le=10_000, alias="BATCH_SIZE")
    """A log line tells of this many sent conversations."""
    batch_seconds: float = Field(30, gt=0, le=3_600, alias="BATCH_SECONDS")
    """The line comes after this many seconds, however few conversations there were."""
    queue_size: int = Field(10_000, ge=1, le=1_000_000, alias="INTENTLOOP_QUEUE_SIZE")
    """How many messages wait in memory; what comes while the queue is full is dropped."""
    journal_dir: Path = Field(Path("var/journal"), alias="INTENTLOOP_JOURNAL_DIR")
    """Folder where messages wait on disk until Kafka has them; several bots may share it."""
    journal_max_mb: int = Field(100, ge=0, le=1_000_000, alias="INTENTLOOP_JOURNAL_MAX_MB")
    """Megabytes that a process keeps there; what comes while it is full is dropped. 0: none."""


def explain_settings(error: ValidationError, env_prefix: str = "") -> str:
    """Say which variables are wrong and why, without their values."""
    return "; ".join(
        f"{env_prefix}{'.'.join(map(str, detail['loc'])).upper()}: {detail['msg']}"
        for detail in error.errors()
    )
