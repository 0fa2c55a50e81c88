"""Reads what a topic holds."""

from __future__ import annotations

from confluent_kafka import Consumer, Message, TopicPartition

from intentloop_schemas import Event


def read_topic(bootstrap_servers: str, topic: str) -> list[Message]:
    """Return every record of a topic, partition by partition in the order of the log."""
    settings = {
        "bootstrap.servers": bootstrap_servers,
        "group.id": "topic reader",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
    }
    with Consumer(settings) as consumer:
        unfinished = set(consumer.list_topics(topic, 10).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, number, 0) for number in unfinished])
        found: list[Message] = []
        while unfinished:
            for message in consumer.consume(1_000, 0.1):
                if message.error():
                    unfinished.discard(message.partition())
                else:
                    found.append(message)
    return sorted(found, key=lambda message: (message.partition(), message.offset()))


def log_end(bootstrap_servers: str, topic: str) -> int:
    """Return how many records a topic has had, all partitions together."""
    with Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "topic reader"}) as consumer:
        partitions = consumer.list_topics(topic, 10).topics[topic].partitions
        places = [TopicPartition(topic, number) for number in partitions]
        return sum(consumer.get_watermark_offsets(place, 10)[1] for place in places)


def read_events(bootstrap_servers: str, topic: str) -> list[Event]:
    """Return the events of a topic, partition by partition in the order of the log."""
    records = read_topic(bootstrap_servers, topic)
    return [Event.model_validate_json(record.value() or b"") for record in records]
