"""Dead letters sent to their topic again, and what was sent remembered.

A compacted topic, `<dead-letter topic>.retried`, holds one small marker for each retried letter, by
its place. It serves any choice of letters from any machine, and outlives the letters; a committed
offset could only say "all up to here". A marker is sent after Kafka has confirmed the record: a
retry that is interrupted in between sends that record once more, which the store takes as the same
event.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import NewTopic

from intentloop_schemas import DeadLetter, DeadLetterReason, dead_letter_topic
from intentloop_schemas.dead_letter import Place
from intentloop_schemas.kafka import KafkaSettings
from intentloop_stream.letter_reader import TopicMissingError, read_to_end
from intentloop_stream.quarantine import Quarantine, QuarantineError
from intentloop_stream.topics import quiet_admin

_GROUP_LETTERS = 500
_GROUP_BYTES = 32 * 1024 * 1024
_DELIVERY_SECONDS = 30
_ADMIN_SECONDS = 10.0
_MAX_MESSAGE_BYTES = 1_000_000_000
_AWAY = (KafkaError._MSG_TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN)


@dataclass(slots=True)
class RetryReport:
    """What became of the letters."""

    sent: Counter[DeadLetterReason] = field(default_factory=Counter)
    """By reason; in a dry run those that would be sent."""
    retried_before: int = 0
    failed: list[tuple[Place, str]] = field(default_factory=list)
    """Letters that were not sent, or not remembered, and why."""
    is_cut_short: bool = False
    """Kafka went away, and the letters after that were not tried."""


@dataclass(frozen=True, slots=True)
class _Record:
    topic: str
    key: bytes | None
    value: bytes | None
    partition: int
    timestamp: int


def retried_topic(topic: str) -> str:
    """Return the name of the topic with the markers of retried letters."""
    return f"{dead_letter_topic(topic)}.retried"


def retried_places(kafka: KafkaSettings, topic: str) -> set[Place]:
    """Return the places of all letters that were retried. Blocks; raises KafkaException."""
    try:
        markers = read_to_end(kafka, retried_topic(topic))
        return {Place(*json.loads(marker.key())) for marker in markers}
    except TopicMissingError:
        return set()


def retry_letters(
    kafka: KafkaSettings,
    topic: str,
    letters: Iterable[DeadLetter],
    quarantine: Quarantine,
    *,
    dry_run: bool = False,
) -> RetryReport:
    """Send letters to the partitions they came from, byte for byte, key and timestamp as they were.

    A letter that was retried before is left out; `letters` must hold no copies. A truncated one
    needs its quarantine file. Blocks. Raises KafkaException when the broker is away at the start.
    """
    report = RetryReport()
    retried = retried_places(kafka, topic)
    ready = _ready(letters, retried, quarantine, report)
    if dry_run:
        report.sent.update(letter.reason for letter in ready)
        return report
    sender = None
    for group in _groups(ready):
        if sender is None:
            _make_retried_topic(kafka, topic)
            sender = _Sender(kafka)
        report.is_cut_short = not _send(sender, group, retried_topic(topic), report)
        if report.is_cut_short:
            break
    return report


def _ready(
    letters: Iterable[DeadLetter], retried: set[Place], quarantine: Quarantine, report: RetryReport
) -> Iterator[DeadLetter]:
    """Yield what is to be sent, whole; note in the report what is not."""
    for letter in letters:
        if letter.place in retried:
            report.retried_before += 1
            continue
        try:
            yield quarantine.restore(letter)
        except QuarantineError as error:
            report.failed.append((letter.place, str(error)))


def _groups(letters: Iterable[DeadLetter]) -> Iterator[list[DeadLetter]]:
    """Yield letters in groups of a bounded size in memory."""
    group: list[DeadLetter] = []
    size = 0
    for letter in letters:
        group.append(letter)
        size += len(letter.value or b"")
        if len(group) == _GROUP_LETTERS or size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _send(sender: _Sender, group: list[DeadLetter], markers: str, report: RetryReport) -> bool:
    """Send a group, then the markers of what Kafka confirmed; tell whether Kafka still answers."""
    errors = sender.send([_original(letter) for letter in group])
    sent = [letter for letter, error in zip(group, errors, strict=True) if error is None]
    unmarked = sender.send([_marker(letter, markers) for letter in sent])
    report.sent.update(letter.reason for letter in sent)
    for letter, error in zip([*group, *sent], [*errors, *unmarked], strict=True):
        if error is not None:
            report.failed.append((letter.place, error.str()))
    return not any(error and error.code() in _AWAY for error in (*errors, *unmarked))


def _original(letter: DeadLetter) -> _Record:
    return _Record(letter.topic, letter.key, letter.value, letter.partition, letter.timestamp)


def _marker(letter: DeadLetter, topic: str) -> _Record:
    now = time.time_ns() // 1_000_000
    return _Record(topic, json.dumps(letter.place).encode(), letter.reason.encode(), 0, now)


class _Sender:
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

    def send(self, records: list[_Record]) -> list[KafkaError | None]:
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
                    on_delivery=note,
                )
            except KafkaException as refused:
                errors[number] = refused.args[0]
        self._producer.flush()
        return errors


def _make_retried_topic(kafka: KafkaSettings, topic: str) -> None:
    """Create the topic of the markers, unless it exists, with as many copies as the letters'."""
    admin = quiet_admin(kafka)
    letters = dead_letter_topic(topic)
    metadata = admin.list_topics(timeout=_ADMIN_SECONDS).topics
    if retried_topic(topic) in metadata:
        return
    replicas = len(metadata[letters].partitions[0].replicas)
    new = NewTopic(retried_topic(topic), 1, replicas, config={"cleanup.policy": "compact"})
    admin.create_topics([new], request_timeout=_ADMIN_SECONDS)[new.topic].result(_ADMIN_SECONDS)
