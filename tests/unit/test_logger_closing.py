"""Flushing and closing a logger: the rest arrives or is counted, and neither waits too long."""

from __future__ import annotations

import threading
import time
from typing import Any
from unittest.mock import patch

import pytest

from intentloop_producer import ConversationLogger, Counts, LoggerSettings
from intentloop_producer.transport import Route
from support.loggers import Make, delivery_threads, log
from support.shelf import Shelf

pytestmark = pytest.mark.usefixtures("clean_environment")


def test_flush_waits_no_longer_than_it_is_told_and_returns_what_remains(
    make: Make, shelf: Shelf
) -> None:
    shelf.answers.clear()
    logger = make()
    log(logger)
    log(logger)
    start = time.monotonic()
    assert logger.flush(0.2) == 2
    assert time.monotonic() - start < 5

    shelf.answers.set()
    assert logger.flush(10) == 0


def test_flush_and_close_may_take_for_ever(make: Make, shelf: Shelf) -> None:
    logger = make()
    log(logger)
    assert logger.flush(float("inf")) == 0
    log(logger)
    logger.close(float("inf"))
    assert logger.counts == Counts(2, 2, 0, 0, 0, 0)


def test_flush_of_an_unused_logger_does_nothing(make: Make) -> None:
    before = delivery_threads()
    assert make().flush() == 0
    assert delivery_threads() == before


def test_flush_does_not_wait_for_a_thread_that_gives_up(eventually: Any) -> None:
    flushing = threading.Event()

    def connect(_: object) -> Any:
        flushing.wait(10)
        raise ValueError("Unsupported SASL mechanism: NOPE")

    logger = ConversationLogger(LoggerSettings(), route=Route("Kafka", connect))
    log(logger)
    waiting = threading.Thread(target=logger.flush, args=(60,))
    waiting.start()
    eventually(lambda: len(logger._intake._queue) == 2)
    flushing.set()
    waiting.join(10)
    assert not waiting.is_alive()


def test_close_delivers_the_rest_and_ends_the_thread(make: Make, shelf: Shelf) -> None:
    before = delivery_threads()
    with make() as logger:
        for n in range(500):
            log(logger, message_text=str(n))
    assert len(shelf.taken) == 500
    assert logger.counts == Counts(500, 500, 0, 0, 0, 0)
    assert delivery_threads() == before


def test_after_closing_it_refuses_counts_and_says_so_once(
    make: Make, shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    logger = make()
    log(logger)
    logger.close()
    logger.close()
    assert not log(logger)
    assert not log(logger)
    assert logger.counts == Counts(1, 1, 0, 0, 2, 0)
    assert caplog.messages.count("Conversations are no longer logged: the logger is closed.") == 1


@pytest.mark.parametrize("obstacle", ["room", "answers"])
def test_closing_is_bounded_and_what_it_gives_up_is_counted_and_said(
    make: Make, shelf: Shelf, caplog: pytest.LogCaptureFixture, obstacle: str
) -> None:
    getattr(shelf, obstacle).clear()
    logger = make(journal_max_mb=0)
    for _ in range(20):
        log(logger)
    start = time.monotonic()
    logger.close(0.2)
    assert time.monotonic() - start < 5
    assert logger.counts == Counts(20, 0, 0, 20, 0, 0)
    assert "Conversations not delivered to a shelf: 20" in caplog.text


def test_what_it_gives_up_is_said_before_it_waits_for_the_connection_to_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As librdkafka's does, which waits for a name server that keeps silent."""
    may_end = threading.Event()
    shelf = Shelf()
    shelf.answers.clear()
    with patch.object(shelf, "close", lambda: may_end.wait(60)):
        logger = ConversationLogger(LoggerSettings(journal_max_mb=0), route=shelf.route())
        log(logger)
        start = time.monotonic()
        logger.close(0.2)
        assert time.monotonic() - start < 5
        assert logger.counts == Counts(1, 0, 0, 1, 0, 0)
        assert "Conversations not delivered to a shelf: 1" in caplog.text
        may_end.set()
