"""Senders taken out of the dead-letter topic.

A record of a Kafka topic cannot be changed, and a tombstone removes nothing from a topic that is
not compacted. So the letters of everybody else are sent to the topic once more, with their times
and headers, and then all before them is cut off. Interrupted in between, letters are there twice,
which they may be anyway.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from confluent_kafka import KafkaException, Message
from confluent_kafka import TopicPartition as KafkaPartition

from intentloop_schemas import dead_letter_topic
from intentloop_schemas.kafka import KafkaSettings
from intentloop_schemas.senders import senders_of
from intentloop_stream.letter_reader import TopicMissingError, read_to_end
from intentloop_stream.sender import OutgoingRecord, Sender, groups
from intentloop_stream.topics import quiet_admin

_QUARANTINE_HEADER = "dlq.quarantine"
_CUT_SECONDS = 30.0


@dataclass(slots=True)
class Letters:
    """Dead letters of some senders."""

    count: int = 0
    """Copies count."""
    quarantined: set[str] = field(default_factory=set)
    """Names of the quarantine's files that hold the records of truncated ones."""


def find_letters(
    kafka: KafkaSettings, topic: str, senders: Collection[str], quarantined: Collection[str] = ()
) -> Letters:
    """Return which dead letters of a topic are of senders. Blocks.

    `quarantined` are names of files in the quarantine that hold records of theirs. Raises
    KafkaException when the broker is away.
    """
    wanted = _Wanted(senders, quarantined)
    letters = Letters()
    with suppress(TopicMissingError):
        for letter in filter(wanted.includes, read_to_end(kafka, dead_letter_topic(topic))):
            letters.count += 1
            letters.quarantined |= _files(letter)
    return letters


def erase_letters(
    kafka: KafkaSettings, topic: str, senders: Collection[str], quarantined: Collection[str] = ()
) -> int:
    """Take the letters that `find_letters` finds out of the topic; return how many. Blocks.

    All others are written anew. Raises KafkaException when the broker is away, or refuses to cut
    the topic, for which it wants the right to delete. Then the letters are still there.
    """
    wanted = _Wanted(senders, quarantined)
    ends: dict[int, int] = {}
    erased = 0

    def others() -> Iterator[Message]:
        nonlocal erased
        for letter in read_to_end(kafka, dead_letter_topic(topic)):
            if wanted.includes(letter):
                erased += 1
            else:
                yield letter
            ends[letter.partition()] = letter.offset() + 1

    _send_again(kafka, others())
    _cut(kafka, dead_letter_topic(topic), ends)
    return erased


class _Wanted:
    def __init__(self, senders: Collection[str], quarantined: Collection[str]) -> None:
        self._senders = frozenset(senders)
        self._quarantined = frozenset(quarantined)

    def includes(self, letter: Message) -> bool:
        senders = senders_of(letter.key(), letter.value())
        return bool(senders & self._senders or _files(letter) & self._quarantined)


def _files(letter: Message) -> set[str]:
    headers = letter.headers() or ()
    return {value.decode() for name, value in headers if name == _QUARANTINE_HEADER and value}


def _send_again(kafka: KafkaSettings, letters: Iterable[Message]) -> None:
    """Send letters to their own partitions. Raises KafkaException unless Kafka has all of them."""
    sender = Sender(kafka)
    for group in groups(map(_copy, letters), size=lambda record: len(record.value or b"")):
        for error in sender.send(group):
            if error is not None:
                raise KafkaException(error)


def _copy(letter: Message) -> OutgoingRecord:
    return OutgoingRecord(
        letter.topic(),
        letter.key(),
        letter.value(),
        letter.partition(),
        letter.timestamp()[1],
        letter.headers(),
    )


def _cut(kafka: KafkaSettings, topic: str, ends: dict[int, int]) -> None:
    places = [KafkaPartition(topic, partition, end) for partition, end in ends.items()]
    admin = quiet_admin(kafka)
    futures = admin.delete_records(
        places, request_timeout=_CUT_SECONDS, operation_timeout=_CUT_SECONDS
    )
    for future in futures.values():
        future.result()
