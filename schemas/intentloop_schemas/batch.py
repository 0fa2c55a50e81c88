"""A batch: contiguous records of one partition on their way from the log to the store."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from intentloop_schemas.fields import EventFields
from intentloop_schemas.review import ReviewReason


class TopicPartition(NamedTuple):
    """A partition of one life of a topic: deleting and creating a topic gives it a new id."""

    topic: str
    topic_id: str
    partition: int


class Record(Protocol):
    """A record as it stands in the log."""

    @property
    def offset(self) -> int:
        """Offset in its partition."""
        ...

    @property
    def timestamp(self) -> int:
        """Kafka timestamp, epoch ms."""
        ...

    @property
    def key(self) -> bytes | None:
        """Key as produced."""
        ...

    @property
    def value(self) -> bytes | None:
        """Value as produced."""
        ...


@dataclass(slots=True)
class Entry:
    """A valid event, its record, and all that was derived from them. Nobody changes it."""

    event: EventFields
    event_id: str
    example_id: str
    reasons: tuple[ReviewReason, ...]
    late: bool
    record: Record


class ClosedBy(StrEnum):
    """Why a batch was closed."""

    SIZE = "size"
    TIME = "time"
    SHUTDOWN = "shutdown"
    REQUEST = "request"
    """One HTTP request is one batch."""


class Source(StrEnum):
    """How a batch came in."""

    KAFKA = "kafka"
    HTTP = "http"
    REPLAY = "replay"


@dataclass(slots=True)
class Batch:
    """The records of `partition` from `first_position` up to, not including, `next_position`.

    Positions, not offsets: transactions and compaction leave holes in a partition's offsets, and
    ranges of positions still tile it. `highest_timestamp` is the highest event time, in epoch ms,
    below `next_position`: the partition's watermark travels with its position.
    """

    partition: TopicPartition
    first_position: int
    next_position: int
    highest_timestamp: int
    opened_at: int
    """Kafka timestamp of the first record, epoch ms."""
    closed_by: ClosedBy
    entries: list[Entry] = field(default_factory=list)
    rejected: int = 0
    """Records of the range that are not stored: they went to the dead-letter topic, or nowhere."""
    batches: int = 1
    """How many batches of the configured size this range holds; over 1 under a backlog."""
    source: Source = Source.KAFKA
    suppressed: int = 0
    """Of the rejected, those that must not be kept anywhere: they have no dead letter."""
