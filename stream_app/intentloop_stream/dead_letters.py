"""Dead letters: what goes into them, and publishing them before anything counts as done."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog
from faust import App

from intentloop_schemas import (
    DeadLetter,
    DeadLetterReason,
    Record,
    TopicPartition,
    dead_letter_topic,
)
from intentloop_sink import Refusal
from intentloop_stream.processing import Rejection

_RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


def rejected_letter(rejection: Rejection, partition: TopicPartition) -> DeadLetter:
    """Return the dead letter of a record that is no valid event."""
    return _letter(rejection.record, partition, rejection.reason, rejection.error)


def refused_letter(refusal: Refusal) -> DeadLetter:
    """Return the dead letter of an event that the store can never take."""
    return _letter(refusal.entry.record, refusal.partition, refusal.reason, refusal.error)


async def publish(app: App, letters: Sequence[DeadLetter]) -> None:
    """Return once every letter is safe in the dead-letter topic; retries while Kafka is away."""
    unsent = list(letters)
    while unsent:
        results = await asyncio.gather(
            *(_send(app, letter) for letter in unsent), return_exceptions=True
        )
        failed = [result for result in results if isinstance(result, BaseException)]
        unsent = [
            letter
            for letter, result in zip(unsent, results, strict=True)
            if isinstance(result, BaseException)
        ]
        if failed:
            log.warning("dead_letters_waiting", letters=len(unsent), error=repr(failed[0]))
            await asyncio.sleep(_RETRY_SECONDS)


def _letter(
    record: Record, partition: TopicPartition, reason: DeadLetterReason, error: str
) -> DeadLetter:
    return DeadLetter(
        reason=reason,
        error=error,
        topic=partition.topic,
        partition=partition.partition,
        offset=record.offset,
        timestamp=record.timestamp,
        key=record.key,
        value=record.value,
    )


async def _send(app: App, letter: DeadLetter) -> None:
    await app.producer.send_and_wait(
        dead_letter_topic(letter.topic),
        key=letter.key,
        value=letter.value,
        partition=None,
        timestamp=None,
        headers=letter.headers(),
    )
