"""What the consumer's thread does when Kafka no longer answers: it gives up, and can be stopped."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from intentloop_stream import transport
from intentloop_stream.transport import ConsumerThread

PLACE = TP("conversations", 0)


@pytest.fixture
def thread() -> ConsumerThread:
    """A thread that was not started: what is tested needs no other part of it."""
    return object.__new__(ConsumerThread)


class SilentConsumer:
    """Commits as aiokafka does without a coordinator: for ever."""

    async def commit(self, _offsets: Any) -> None:
        await asyncio.Event().wait()


def test_a_commit_that_is_not_answered_is_left_to_the_next(
    thread: ConsumerThread, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(transport, "_COMMIT_SECONDS", 0.01)
    monkeypatch.setattr(thread, "_ensure_consumer", SilentConsumer, raising=False)
    monkeypatch.setattr(thread, "assignment", lambda: {PLACE}, raising=False)

    with caplog.at_level(logging.WARNING, logger=transport.__name__):
        assert asyncio.run(thread._commit({PLACE: 7})) is False
    assert "Kafka does not answer" in caplog.text


def test_a_stop_ends_though_aiokafka_lets_out_the_cancellation_of_a_fetch(
    thread: ConsumerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cancelled(_self: Any) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "on_thread_stop", cancelled)

    asyncio.run(thread.on_thread_stop())
