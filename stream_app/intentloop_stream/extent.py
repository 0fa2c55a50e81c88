"""How far Kafka's log reaches, to compare with how far it is stored."""

from __future__ import annotations

from dataclasses import dataclass

from confluent_kafka import Consumer, TopicPartition

from intentloop_schemas import dead_letter_topic
from intentloop_schemas.kafka import KafkaSettings
from intentloop_stream.topics import topic_ids


@dataclass(frozen=True, slots=True)
class LogExtent:
    """What a topic holds now."""

    topic_id: str
    offsets: dict[int, tuple[int, int]]
    """By partition: its first offset, and the one behind its last."""
    dead_letters: int
    """Records in its dead-letter topic."""


def log_extent(kafka: KafkaSettings, topic: str, *, timeout: float = 2.0) -> LogExtent:
    """Ask Kafka how far a topic reaches. Blocks up to `timeout` seconds for each partition.

    Raises confluent_kafka.KafkaException.
    """
    consumer = Consumer({**kafka.librdkafka(), "group.id": "intentloop-extent", "log_level": 0})
    try:
        letters = _offsets(consumer, dead_letter_topic(topic), timeout)
        return LogExtent(
            topic_ids(kafka, [topic])[topic],
            _offsets(consumer, topic, timeout),
            sum(end - first for first, end in letters.values()),
        )
    finally:
        consumer.close()


def _offsets(consumer: Consumer, topic: str, timeout: float) -> dict[int, tuple[int, int]]:
    partitions = consumer.list_topics(topic, timeout).topics[topic].partitions
    return {
        number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout)
        for number in sorted(partitions)
    }
