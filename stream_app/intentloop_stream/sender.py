"""Records sent in groups, and what Kafka said of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from intentloop_schemas.kafka import KafkaSettings

_GROUP_RECORDS = 500
_GROUP_BYTES = 32 * 1024 * 1024
_DELIVERY_SECONDS = 30
_MAX_MESSAGE_BYTES = 1_000_000_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OutgoingRecord:
    """A record for a place; `timestamp` is its Kafka timestamp in epoch ms."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int
    timestamp: int
    headers: list[tuple[str, bytes | None]] | None = None


class Sender:
    """Sends records and waits until Kafka has them."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._producer = Producer(
            {
                **kafka.librdkafka(),
                "enable.idempotence": True,
                # What fitted into the topic compressed must fit again.
                "compression.type": "zstd",
                "message.max.bytes": _MAX_MESSAGE_BYTES,
                "message.timeout.ms": _DELIVERY_SECONDS * 1000,
                "log_level": 0,
            }
        )

    def send(self, records: list[OutgoingRecord]) -> list[KafkaError | None]:
        """Return for each record why Kafka did not take it, None where it did. Blocks."""
        errors: list[KafkaError | None] = [None] * len(records)
        for number, record in enumerate(records):

            def note(error: KafkaError | None, _: Message, number: int = number) -> None:
                errors[number] = error

            try:
                self._producer.produce(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    partition=record.partition,
                    timestamp=record.timestamp,
                    headers=record.headers,
                    on_delivery=note,
                )
            except KafkaException as refused:
                errors[number] = refused.args[0]
        self._producer.flush()
        return errors


def groups(items: Iterable[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """Yield items in groups of a bounded size in memory; `size` is that of one, in bytes."""
    group: list[T] = []
    total = 0
    for item in items:
        group.append(item)
        total += size(item)
        if len(group) == _GROUP_RECORDS or total >= _GROUP_BYTES:
            yield group
            group, total = [], 0
    if group:
        yield group
