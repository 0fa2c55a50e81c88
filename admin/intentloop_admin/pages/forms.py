"""What pages read from their URLs, and from forms."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, model_validator

from intentloop_schemas.event import DEFAULT_DATASET, Channel, DatasetId, Label
from intentloop_sink.catalogue import StatisticsFilter, edit

DAYS = 7
_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_MAX_BUCKETS = 200


def _blank_is_none(value: Any) -> Any:
    """A form sends an empty text for what was left open."""
    return None if isinstance(value, str) and not value.strip() else value


Blank = BeforeValidator(_blank_is_none)


class Words(edit.Words):
    """Fields of a URL or a form, in camel case; what pages do not know they pass over."""

    model_config = ConfigDict(extra="ignore")


class Range(Words):
    """A dataset, days, and what they are narrowed to; lives in the URL."""

    dataset_id: DatasetId = DEFAULT_DATASET
    since: Annotated[date | None, Blank] = None
    """The first day, in UTC; a week ago unless given."""
    until: Annotated[date | None, Blank] = None
    """The last day; today unless given."""
    channel: Annotated[Channel | None, Blank] = None
    model_version: Annotated[Label | None, Blank] = None

    @model_validator(mode="after")
    def _runs_forward(self) -> Range:
        if self.since and self.until and self.since > self.until:
            raise ValueError("the first day is after the last")
        return self

    @property
    def end(self) -> datetime:
        """Where the range ends: midnight after its last day."""
        last = self.until or datetime.now(UTC).date()
        return datetime.combine(last, time(), UTC) + _DAY

    @property
    def start(self) -> datetime:
        """Midnight before its first day."""
        if self.since is None:
            return self.end - DAYS * _DAY
        return datetime.combine(self.since, time(), UTC)

    @property
    def width(self) -> timedelta:
        """How much time a column of a chart stands for: an hour, or a day of a long range."""
        return _HOUR if (self.end - self.start) / _HOUR <= _MAX_BUCKETS else _DAY

    def statistics(self, **more: Any) -> StatisticsFilter:
        """Return the same as conditions on statistics."""
        given = {"channel": self.channel, "model_version": self.model_version,
                 "since": self.start, "until": self.end}  # fmt: skip
        return StatisticsFilter(**{**given, **more})
