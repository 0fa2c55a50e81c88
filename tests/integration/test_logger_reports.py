"""Loggers' reports on themselves, over a real Kafka and over HTTP."""

from __future__ import annotations

import time
from typing import Any

import pytest

from intentloop_producer import kafka as kafka_transport
from intentloop_schemas import LOGGERS_TOPIC, LoggerReport
from support.backend import Backend
from support.destinations import HttpDestination, KafkaDestination
from support.topic_reader import read_topic

PATIENCE = 60


def log(logger: Any, count: int) -> None:
    for number in range(count):
        assert logger.log(
            phone_number="+15550100", message_text=str(number), intent="greet", confidence=0.9
        )


def test_over_kafka_they_go_to_a_topic_of_their_own_keyed_by_logger(kafka: Any, topic: str) -> None:
    before = int(time.time() * 1_000)
    with KafkaDestination(kafka, topic).logger(report_seconds=0.2) as logger:
        log(logger, 37)
        assert logger.flush(PATIENCE) == 0
    records = read_topic(kafka.bootstrap_servers, LOGGERS_TOPIC)
    written = [r for r in records if r.timestamp()[1] >= before]
    ours = [(r.key(), LoggerReport.model_validate_json(r.value() or b"")) for r in written]
    _, last = ours[-1]
    assert (last.accepted, last.delivered, last.transport) == (37, 37, "kafka")
    assert {name for name, _ in ours} == {last.logger_id.encode()}
    assert len(KafkaDestination(kafka, topic).events()) == 37


def test_without_that_topic_conversations_arrive_and_the_end_is_not_held_up(
    kafka: Any, topic: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kafka_transport, "LOGGERS_TOPIC", f"{topic}-missing")
    destination = KafkaDestination(kafka, topic)
    logger = destination.logger(report_seconds=0.01)
    log(logger, 37)
    assert logger.flush(PATIENCE) == 0
    start = time.monotonic()
    logger.close(PATIENCE)
    assert time.monotonic() - start < 5
    assert len(destination.events()) == 37
    assert "cannot be used" not in caplog.text


def test_over_http_they_are_posted() -> None:
    backend = Backend()
    with HttpDestination(backend).logger() as logger:
        log(logger, 37)
        assert logger.flush(PATIENCE) == 0
    backend.stop()
    [report] = backend.reports
    assert (report.accepted, report.delivered, report.transport) == (37, 37, "http")


@pytest.mark.parametrize("status", [404, 500, 401])
def test_a_backend_that_does_not_take_them_takes_the_conversations(
    status: int, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    backend = Backend()
    backend.reports_status = status
    with HttpDestination(backend).logger(report_seconds=0.01) as logger:
        log(logger, 37)
        eventually(lambda: f"reports on itself: it answers {status}" in caplog.text)
        assert logger.flush(PATIENCE) == 0
    backend.stop()
    assert len(backend.events()) == 37
    assert "cannot be used" not in caplog.text
