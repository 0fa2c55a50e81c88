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

from confluent_kafka import KafkaError
from confluent_kafka.admin import NewTopic

from intentloop_schemas import DeadLetter, DeadLetterReason, dead_letter_topic
from intentloop_schemas.dead_letter import Place
from intentloop_schemas.kafka import KafkaSettings
from intentloop_stream.letter_reader import TopicMissingError, read_to_end
from intentloop_stream.quarantine import Quarantine, QuarantineError
from intentloop_stream.sender import OutgoingRecord, Sender, groups
from intentloop_stream.topics import quiet_admin

_ADMIN_SECONDS = 10.0
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
    for group in groups(ready, size=lambda letter: len(letter.value or b"")):
        if sender is None:
            _make_retried_topic(kafka, topic)
            sender = Sender(kafka)
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


def _send(sender: Sender, group: list[DeadLetter], markers: str, report: RetryReport) -> bool:
    """Send a group, then the markers of what Kafka confirmed; tell whether Kafka still answers."""
    errors = sender.send([_original(letter) for letter in group])
    sent = [letter for letter, error in zip(group, errors, strict=True) if error is None]
    unmarked = sender.send([_marker(letter, markers) for letter in sent])
    report.sent.update(letter.reason for letter in sent)
    for letter, error in zip([*group, *sent], [*errors, *unmarked], strict=True):
        if error is not None:
            report.failed.append((letter.place, error.str()))
    return not any(error and error.code() in _AWAY for error in (*errors, *unmarked))


def _original(letter: DeadLetter) -> OutgoingRecord:
    return OutgoingRecord(
        letter.topic, letter.key, letter.value, letter.partition, letter.timestamp
    )


def _marker(letter: DeadLetter, topic: str) -> OutgoingRecord:
    now = time.time_ns() // 1_000_000
    return OutgoingRecord(topic, json.dumps(letter.place).encode(), letter.reason.encode(), 0, now)


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
