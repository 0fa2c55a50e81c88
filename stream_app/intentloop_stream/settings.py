"""Settings of the worker, read once when it starts."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from intentloop_schemas import CONVERSATIONS_TOPIC
from intentloop_schemas.review import DEFAULT_THRESHOLD
from intentloop_schemas.topics import DEFAULT_GROUP

_DAY_SECONDS = 86_400


def _divides_a_day(seconds: int) -> int:
    if _DAY_SECONDS % seconds:
        raise ValueError(f"{seconds} does not divide a day; choose for example 10, 30, 60 or 300")
    return seconds


class WorkerSettings(BaseSettings):
    """What the worker reads, how it batches, and what it flags."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        frozen=True,
        use_attribute_docstrings=True,
        validate_by_name=True,
    )

    topic: str = Field(CONVERSATIONS_TOPIC, alias="INTENTLOOP_TOPIC")
    """Topic with the conversation events; its dead letters go to the same name with `.dlq`."""
    group: str = Field(DEFAULT_GROUP, alias="INTENTLOOP_GROUP")
    """Consumer group shared by all workers; without `DATABASE_URL` it ends in `-files`."""
    instance_id: str | None = Field(None, alias="INTENTLOOP_INSTANCE_ID")
    """Name a supervised worker keeps over restarts: a quick restart then moves no partition."""
    confidence_threshold: float = Field(
        DEFAULT_THRESHOLD, ge=0, le=1, alias="CONFIDENCE_THRESHOLD_FOR_REVIEW"
    )
    """Messages with a lower confidence are flagged for review."""
    batch_size: int = Field(10, ge=1, le=10_000, alias="BATCH_SIZE")
    """A batch is closed at this many records."""
    batch_seconds: float = Field(30, gt=0, le=3_600, alias="BATCH_SECONDS")
    """A batch is stored at this age, in seconds, however few records it holds."""
    window_seconds: Annotated[int, AfterValidator(_divides_a_day)] = Field(
        30, ge=1, le=_DAY_SECONDS, alias="WINDOW_SECONDS"
    )
    """Length of the tumbling windows of the statistics, in seconds; a divisor of a day."""
    storm_share: float = Field(0.5, gt=0, le=1, alias="INTENTLOOP_STORM_SHARE")
    """A storm begins when more than this share of records is bad; 1 turns the alarm off."""
    storm_records: int = Field(1_000, ge=1, le=1_000_000, alias="INTENTLOOP_STORM_RECORDS")
    """How many of the last records the share is of."""
    storm_stop: bool = Field(default=False, alias="INTENTLOOP_STORM_STOP")
    """In a storm, stop the worker instead of letting more records become dead letters."""
    metrics_port: int | None = Field(None, ge=0, le=65_535, alias="INTENTLOOP_METRICS_PORT")
    """Port of `/metrics`, `/healthz` and `/readyz`; without one the worker listens nowhere."""
    metrics_host: str = Field("127.0.0.1", alias="INTENTLOOP_METRICS_HOST")
    """Address to listen at for them; 0.0.0.0 for all."""
    stall_seconds: float = Field(60, ge=0, le=86_400, alias="INTENTLOOP_STALL_SECONDS")
    """End the worker when records wait and nothing has moved for so long, in seconds; 0: never."""
