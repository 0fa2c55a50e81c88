"""The lines in the bot's log."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from intentloop_producer.report import Report, logged_line
from intentloop_schemas import Event

SENDER = "+919876543210"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def report(clock: Clock, caplog: pytest.LogCaptureFixture) -> Iterator[Report]:
    # A logger of another test may still be ending in a thread of its own.
    mine = threading.get_ident()
    with (
        caplog.at_level(logging.INFO, "intentloop.conversation"),
        caplog.filtering(lambda record: record.thread == mine),
    ):
        yield Report("Kafka", batch_size=10, batch_seconds=30, clock=clock)


def event(**changes: Any) -> Event:
    fields = {
        "phoneNumber": SENDER,
        "messageText": "where is my order?",
        "intent": "track_order",
        "confidence": 0.95,
        "timestamp": 1_698_345_600_000,
    }
    return Event.model_validate({**fields, **changes})


def tick(report: Report, dropped: int = 0) -> None:
    report.tick(dropped=dropped, why="The queue of 100 is full.")


def test_the_line_about_a_message(report: Report, caplog: pytest.LogCaptureFixture) -> None:
    report.logged(event())
    assert caplog.record_tuples == [
        (
            "intentloop.conversation",
            logging.INFO,
            "Logged: 'where is my order?'... → intent: track_order, confidence: 95%",
        )
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x" * 41, "x" * 40),
        ("पनीर टिक्का 👩\u200d🍳", "पनीर टिक्का 👩\u200d🍳"),
        ("first\r\nERROR second\x1b[31m\u2028third", "first  ERROR second [31m third"),
        (f"call me at {SENDER} please", "call me at <sender> please"),
    ],
)
def test_a_message_stays_on_one_line_without_its_sender(text: str, shown: str) -> None:
    assert f"Logged: '{shown}'... →" in logged_line(event(messageText=text))


@pytest.mark.parametrize(("confidence", "percent"), [(0, 0), (0.945, 95), (0.004, 0), (1, 100)])
def test_confidence_is_in_whole_percent(confidence: float, percent: int) -> None:
    assert logged_line(event(confidence=confidence)).endswith(f"confidence: {percent}%")


def test_nothing_is_formatted_for_a_log_that_is_not_kept(
    report: Report, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "intentloop.conversation")
    report.logged(event())
    assert not caplog.messages


def test_a_summary_comes_after_ten(report: Report, caplog: pytest.LogCaptureFixture) -> None:
    for n in range(25):
        report.delivered(flagged=n in (3, 7, 11))
        tick(report)
    assert caplog.messages == [
        "Sent 10 conversation logs to Kafka (2 flagged for review)",
        "Sent 10 conversation logs to Kafka (1 flagged for review)",
    ]


def test_a_summary_comes_after_30_seconds_when_there_was_something(
    report: Report, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    clock.now += 100
    tick(report)
    report.delivered(flagged=True)
    clock.now += 29.9
    tick(report)
    assert not caplog.messages

    clock.now += 0.1
    tick(report)
    assert len(caplog.messages) == 1
    clock.now += 100
    tick(report)
    assert caplog.messages == ["Sent 1 conversation logs to Kafka (1 flagged for review)"]


def test_the_rest_is_said_at_the_end(report: Report, caplog: pytest.LogCaptureFixture) -> None:
    report.delivered(flagged=False)
    report.invalid("intent: is required")
    tick(report)
    report.invalid("confidence: is required")
    report.finish()
    assert caplog.messages == [
        "Conversations not valid, so not logged: 1. intent: is required",
        "Conversations not valid, so not logged: 1. confidence: is required",
        "Sent 1 conversation logs to Kafka (0 flagged for review)",
    ]


def test_a_complaint_is_made_at_once_and_then_once_per_interval_with_its_count(
    report: Report, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(100):
        report.failed(f"error {n}")
        tick(report)
    assert caplog.messages == ["Conversations not delivered to Kafka: 1. error 0"]

    clock.now += 30
    tick(report)
    tick(report)
    assert caplog.messages[1:] == ["Conversations not delivered to Kafka: 99. error 99"]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_drops_are_said_with_how_many_since_the_last_time(
    report: Report, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for dropped in (0, 3, 8, 8):
        tick(report, dropped)
    clock.now += 30
    tick(report, 9)
    assert caplog.messages == [
        "Conversations dropped: 3. The queue of 100 is full.",
        "Conversations dropped: 6. The queue of 100 is full.",
    ]


def test_details_with_braces_are_said_as_they_are(
    report: Report, caplog: pytest.LogCaptureFixture
) -> None:
    report.trouble("broker {0} {count}")
    tick(report)
    assert caplog.messages == ["Kafka cannot be used, conversations wait: broker {0} {count}"]


def test_a_message_without_its_platform_s_time_is_warned_of_once(
    report: Report, caplog: pytest.LogCaptureFixture
) -> None:
    report.unrepeatable()
    report.unrepeatable()
    assert len(caplog.messages) == 1
    assert "Pass the platform's timestamp" in caplog.messages[0]


def test_a_log_filter_that_raises_stops_nothing(report: Report) -> None:
    def broken(_: logging.LogRecord) -> bool:
        raise RuntimeError("a filter of the bot's")

    logger = logging.getLogger("intentloop.conversation")
    logger.addFilter(broken)
    try:
        report.logged(event())
        report.finish()
    finally:
        logger.removeFilter(broken)
