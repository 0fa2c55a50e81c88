"""Publishes dead letters: at least once, and not before Kafka has them all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog
from faust import App

from intentloop_schemas import DeadLetter, dead_letter_topic

_RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


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


async def _send(app: App, letter: DeadLetter) -> None:
    await app.producer.send_and_wait(
        dead_letter_topic(letter.topic),
        key=letter.key,
        value=letter.value,
        partition=None,
        timestamp=None,
        headers=letter.headers(),
    )
