"""How long Kafka keeps its own copies of records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from confluent_kafka.admin import ConfigResource, ResourceType

from intentloop_schemas.kafka import KafkaSettings
from intentloop_stream.topics import quiet_admin

_TIMEOUT_SECONDS = 5.0
_MAX_DAYS = 36_500


@dataclass(frozen=True, slots=True)
class Copies:
    """What a topic does with old records."""

    topic: str
    retention: timedelta | None
    """For how long records stay, counted from the newest of their segment; None means for ever."""
    segment: timedelta
    """A segment takes records for so long at the most; it is deleted as a whole."""

    def expire(self, now: datetime) -> datetime | None:
        """Return when what is in the topic now is gone at the latest; None when it stays."""
        return None if self.retention is None else now + self.segment + self.retention


def copies(kafka: KafkaSettings, topic: str) -> Copies:
    """Return how long a topic keeps records. Blocks up to 5 s.

    Raises KafkaException when the topic does not exist, or the broker is away or does not say.
    """
    admin = quiet_admin(kafka)
    resource = ConfigResource(ResourceType.TOPIC, topic)
    futures = admin.describe_configs([resource], request_timeout=_TIMEOUT_SECONDS)
    config = futures[resource].result()
    stays = "delete" not in config["cleanup.policy"].value
    retention = _span(config["retention.ms"].value)
    segment = _span(config["segment.ms"].value)
    return Copies(topic, None if stays else retention, segment or timedelta(days=_MAX_DAYS))


def _span(milliseconds: str) -> timedelta | None:
    """Return a span of time, None when it has no end."""
    days = int(milliseconds) / 86_400_000
    return timedelta(days=days) if 0 <= days <= _MAX_DAYS else None
