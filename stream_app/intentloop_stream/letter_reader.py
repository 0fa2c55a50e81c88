"""Dead letters read back from their topic: up to its end as it stood at the start, one by one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from pydantic import ValidationError

from intentloop_schemas import DeadLetter, dead_letter_topic
from intentloop_schemas.kafka import KafkaSettings

_SILENCE_SECONDS = 10.0
_METADATA_SECONDS = 5.0
_POLL_SECONDS = 1.0
_PREFETCH_KILOBYTES = 16 * 1024
_PASSING = (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN)
"""Told while the client tries again by itself."""


class TopicMissingError(Exception):
    """A topic does not exist."""


class Found(NamedTuple):
    """A dead letter, when it was written (epoch ms), and where it stands in its own topic."""

    letter: DeadLetter
    written_at: int
    partition: int
    offset: int


class Unreadable(NamedTuple):
    """A record of the dead-letter topic that is no dead letter."""

    partition: int
    offset: int
    error: str


def read_letters(
    kafka: KafkaSettings, topic: str, *, since: int | None = None
) -> Iterator[Found | Unreadable]:
    """Yield the dead letters of a topic, those of one partition oldest first.

    Only those written at or after `since`, epoch ms. A letter may come twice; see `first_copies`.
    Blocks. Raises TopicMissingError, and KafkaException when the broker is away or silent.
    """
    for message in read_to_end(kafka, dead_letter_topic(topic), since=since):
        written_at = message.timestamp()[1]
        if since is None or written_at >= since:
            yield _found(message, written_at)


def first_copies(found: Iterable[Found | Unreadable]) -> Iterator[Found]:
    """Yield each letter once, however often it was delivered, and nothing unreadable."""
    seen = set()
    for item in found:
        if isinstance(item, Found) and item.letter.place not in seen:
            seen.add(item.letter.place)
            yield item


def read_to_end(kafka: KafkaSettings, topic: str, *, since: int | None = None) -> Iterator[Message]:
    """Yield the records of a topic that are there now; joins no group and commits nothing.

    Blocks. Raises TopicMissingError, and KafkaException when the broker is away or silent.
    """
    consumer = _consumer(kafka)
    try:
        starts, ends = _bounds(consumer, topic, since)
        consumer.assign([TopicPartition(topic, *start) for start in starts.items()])
        yield from _until(consumer, ends)
    finally:
        consumer.close()


def _consumer(kafka: KafkaSettings) -> Consumer:
    return Consumer(
        {
            **kafka.librdkafka(),
            "group.id": "intentloop-dlq",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "queued.max.messages.kbytes": _PREFETCH_KILOBYTES,
            "log_level": 0,
        }
    )


def _bounds(
    consumer: Consumer, topic: str, since: int | None
) -> tuple[dict[int, int], dict[int, int]]:
    """Return by partition the first offset to read and the end, for partitions with records."""
    metadata = consumer.list_topics(topic, _METADATA_SECONDS).topics[topic]
    if metadata.error:
        raise TopicMissingError(
            f"the topic {topic} does not exist: run `intentloop topics create`"
            if metadata.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART
            else f"the topic {topic} cannot be read: {metadata.error.str()}"
        )
    starts, ends = {}, {}
    for partition in metadata.partitions:
        start, end = consumer.get_watermark_offsets(
            TopicPartition(topic, partition), _METADATA_SECONDS
        )
        if since is not None:
            wanted = [TopicPartition(topic, partition, since)]
            found = consumer.offsets_for_times(wanted, _METADATA_SECONDS)[0].offset
            start = end if found < 0 else found
        if start < end:
            starts[partition], ends[partition] = start, end
    return starts, ends


def _until(consumer: Consumer, ends: dict[int, int]) -> Iterator[Message]:
    """Yield records below the ends. Transactions leave holes: an end may come without a record."""
    while ends:
        message = _next(consumer)
        partition, offset = message.partition(), message.offset()
        end = ends.get(partition, 0)
        if message.error() or offset + 1 >= end:
            ends.pop(partition, None)
        if not message.error() and offset < end:
            yield message


def _next(consumer: Consumer) -> Message:
    """Return the next record, or the end of a partition, which has an error for a value."""
    deadline = time.monotonic() + _SILENCE_SECONDS
    while time.monotonic() < deadline:
        message = consumer.poll(_POLL_SECONDS)
        if message is None:
            continue
        error = message.error()
        if error is None or error.code() == KafkaError._PARTITION_EOF:
            return message
        if error.code() not in _PASSING:
            raise KafkaException(error)
    raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


def _found(message: Message, written_at: int) -> Found | Unreadable:
    partition, offset = message.partition(), message.offset()
    try:
        letter = DeadLetter.from_record(message.headers() or (), message.key(), message.value())
    except ValidationError as error:
        wrong = ", ".join(str(detail["loc"][0]) for detail in error.errors())
        return Unreadable(partition, offset, f"headers missing or malformed: {wrong}")
    return Found(letter, written_at, partition, offset)
