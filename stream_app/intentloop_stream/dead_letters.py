"""Dead letters: what goes into them, and publishing them before anything counts as done."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError
from faust import App

from intentloop_schemas import (
    DeadLetter,
    DeadLetterReason,
    Record,
    TopicPartition,
    dead_letter_topic,
)
from intentloop_sink import Refusal
from intentloop_stream.backpressure import Backpressure
from intentloop_stream.processing import Rejection
from intentloop_stream.quarantine import Quarantine

_RETRY_SECONDS = 1.0
_WAIT = "dead letters"
_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)

log = structlog.get_logger(__name__)


def rejected_letter(rejection: Rejection, partition: TopicPartition) -> DeadLetter:
    """Return the dead letter of a record that is no valid event."""
    return _letter(rejection.record, partition, rejection.reason, rejection.error)


def refused_letter(refusal: Refusal) -> DeadLetter:
    """Return the dead letter of an event that the store can never take."""
    return _letter(refusal.entry.record, refusal.partition, refusal.reason, refusal.error)


async def publish(
    app: App, quarantine: Quarantine, backpressure: Backpressure, letters: Sequence[DeadLetter]
) -> None:
    """Return once every letter is safe in the dead-letter topic.

    A record that is too large for that topic goes whole into the quarantine, and a truncated letter
    into the topic. Retries while Kafka is away or the quarantine cannot be written, and declares
    that as backpressure.
    """
    unsent = list(letters)
    while unsent:
        results = await asyncio.gather(
            *(_send(app, quarantine, letter) for letter in unsent), return_exceptions=True
        )
        failed = [result for result in results if isinstance(result, BaseException)]
        unsent = [
            letter
            for letter, result in zip(unsent, results, strict=True)
            if isinstance(result, BaseException)
        ]
        if failed:
            log.warning(
                "dead_letters_waiting",
                letters=len(unsent),
                error=repr(failed[0]),
                advice="see that Kafka answers, that the dead-letter topic exists and takes a few "
                "kilobytes a record, and that FALLBACK_DIR can be written to",
            )
            backpressure.declare(_WAIT, "dead letters cannot be published")
            await asyncio.sleep(_RETRY_SECONDS)
    backpressure.end(_WAIT)


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


async def _send(app: App, quarantine: Quarantine, letter: DeadLetter) -> None:
    """Send a letter, truncated if it must be: its file is on disk before."""
    try:
        await _put(app, letter)
    except Exception as error:
        if not _is_too_large(error):
            raise
        truncated = await asyncio.to_thread(quarantine.keep, letter)
        log.warning(
            "dead_letter_truncated",
            partition=letter.partition,
            offset=letter.offset,
            size=truncated.truncated,
            file=str(quarantine.folder / str(truncated.quarantine)),
        )
        await _put(app, truncated)


def _is_too_large(error: Exception) -> bool:
    # Faust wraps what its client finds before sending, and passes on what the broker says.
    return isinstance(error, _TOO_LARGE) or isinstance(error.__cause__, _TOO_LARGE)


async def _put(app: App, letter: DeadLetter) -> None:
    await app.producer.send_and_wait(
        dead_letter_topic(letter.topic),
        key=letter.key,
        value=letter.value,
        partition=None,
        timestamp=None,
        headers=letter.headers(),
    )
