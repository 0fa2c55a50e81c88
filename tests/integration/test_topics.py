"""Topics are created so that they can be used at once."""

from __future__ import annotations

import uuid
from contextlib import closing
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from intentloop_schemas.kafka import KafkaSettings
from intentloop_stream.topics import create_topics

PARTITIONS = 60
"""So many that a broker takes a while to lead all of them."""


def test_a_topic_can_be_read_as_soon_as_it_is_created(kafka: Any) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers)
    with closing(Consumer({**settings.librdkafka(), "group.id": "reader"})) as reader:
        for _ in range(5):
            topic = f"new-{uuid.uuid4().hex[:8]}"
            create_topics(settings, topic, partitions=PARTITIONS)
            for number in reader.list_topics(topic, 5).topics[topic].partitions:
                assert reader.get_watermark_offsets(TopicPartition(topic, number), 5) == (0, 0)
