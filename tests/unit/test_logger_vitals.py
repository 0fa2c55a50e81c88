"""What a logger reports on itself, when, and that it costs nothing."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intentloop_producer import ConversationLogger, LoggerSettings
from intentloop_producer.intake import Intake
from intentloop_producer.latency import Latency
from intentloop_producer.report import Report
from intentloop_producer.transport import Failure, Route, Settle
from intentloop_producer.vitals import Vitals
from intentloop_schemas import LoggerReport
from intentloop_schemas.version import VERSION
from support.shelf import Shelf

NOW = 1_698_345_600.0


def log(logger: ConversationLogger, **changes: Any) -> bool:
    said = {"phone_number": "+15550100", "message_text": "hi", "intent": "greet", "confidence": 0.9}
    return logger.log(**{**said, **changes})


# From the bot's side


def test_a_logger_reports_at_its_end_what_became_of_everything() -> None:
    shelf = Shelf()
    before = int(time.time() * 1_000)
    with ConversationLogger(LoggerSettings(), route=Route("a shelf", lambda _: shelf)) as logger:
        for _ in range(7):
            assert log(logger)
        assert log(logger, confidence="very")
    [report] = shelf.reports
    counts = (report.accepted, report.delivered, report.invalid, report.failed, report.dropped)
    assert counts == (8, 7, 1, 0, 0)
    assert before <= report.started_at <= report.reported_at <= time.time() * 1_000
    assert (report.version, report.transport) == (VERSION, "custom")
    assert report.log_p50_us
    assert report.log_p99_us
    assert 0 < report.log_p50_us <= report.log_p99_us
    assert shelf.is_closed


def test_it_reports_again_and_again_under_one_name(eventually: Any) -> None:
    shelf = Shelf()
    route = Route("a shelf", lambda _: shelf)
    with ConversationLogger(LoggerSettings(report_seconds=0.05), route=route) as logger:
        log(logger)
        eventually(lambda: len(shelf.reports) >= 3)
    assert len({report.logger_id for report in shelf.reports}) == 1
    times = [report.reported_at for report in shelf.reports]
    assert times == sorted(times)
    other = Shelf()
    with ConversationLogger(LoggerSettings(), route=Route("a shelf", lambda _: other)) as logger:
        log(logger)
    assert other.reports[0].logger_id != shelf.reports[0].logger_id


def test_it_can_be_switched_off() -> None:
    shelf = Shelf()
    route = Route("a shelf", lambda _: shelf)
    with ConversationLogger(LoggerSettings(report_seconds=0), route=route) as logger:
        log(logger)
    assert shelf.reports == []


def test_a_report_holds_nothing_of_a_person_or_a_machine() -> None:
    shelf = Shelf()
    with ConversationLogger(LoggerSettings(), route=Route("a shelf", lambda _: shelf)) as logger:
        log(logger)
    names = {"loggerId", "startedAt", "reportedAt", "accepted", "recovered", "delivered"}
    names |= {"invalid", "failed", "dropped", "logP50Us", "logP99Us", "version", "transport"}
    assert set(shelf.reports[0].model_dump(by_alias=True)) == names


class Deaf(Shelf):
    """Takes no reports; lets go of them at once, or never."""

    def __init__(self, failure: Failure | None) -> None:
        super().__init__()
        self.failure = failure
        self.asked = 0

    def report(self, _key: bytes, _value: bytes, settle: Settle) -> None:
        self.asked += 1
        if self.failure:
            settle(self.failure)


def test_reports_that_are_not_taken_are_said_once_and_cost_nothing(
    caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    shelf = Deaf(Failure("no such topic"))
    route = Route("a shelf", lambda _: shelf)
    with ConversationLogger(LoggerSettings(report_seconds=0.01), route=route) as logger:
        log(logger)
        eventually(lambda: shelf.asked >= 3)
        assert logger.flush(10) == 0
    [warning] = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert "a shelf does not take this logger's reports on itself: no such topic" in warning


def test_while_one_is_on_its_way_no_other_follows(eventually: Any) -> None:
    shelf = Deaf(None)
    route = Route("a shelf", lambda _: shelf)
    with ConversationLogger(LoggerSettings(report_seconds=0.01), route=route) as logger:
        log(logger)
        eventually(lambda: shelf.asked)
        shelf.polled.clear()
        assert shelf.polled.wait(10)
        assert logger.flush(10) == 0
    assert shelf.asked == 1


# By the clock


def test_it_is_due_each_minute_and_counts_what_came_meanwhile() -> None:
    at = [0.0]
    shelf, intake = Shelf(), Intake(10)
    report = Report("a shelf", 10, 30)
    vitals = Vitals(
        intake, shelf, "kafka", report, 60, clock=lambda: at[0], now=lambda: NOW + at[0]
    )
    for second in range(200):
        at[0] = second
        intake.tally.accepted += 1
        intake.costs.append(1_000 * (second + 1))
        vitals.tick()
    assert [r.reported_at // 1_000 - int(NOW) for r in shelf.reports] == [60, 120, 180]
    assert [r.accepted for r in shelf.reports] == [61, 121, 181]
    assert {r.started_at for r in shelf.reports} == {int(NOW * 1_000)}
    assert shelf.reports[2].log_p50_us == pytest.approx(91, rel=0.07)


def test_before_the_first_call_no_latency_is_claimed() -> None:
    shelf = Shelf()
    vitals = Vitals(Intake(10), shelf, "http", Report("a shelf", 10, 30), 60, now=lambda: NOW)
    vitals.finish(1)
    [report] = shelf.reports
    assert (report.log_p50_us, report.log_p99_us) == (None, None)
    assert b"logP99Us" not in report.to_json()


# Quantiles


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_quantile_is_at_most_a_sixteenth_too_high(costs: list[int], share: float) -> None:
    latency = Latency()
    for cost in costs:
        latency.add(cost)
    found = latency.quantile_us(share)
    rank = next(n for n in range(1, len(costs) + 1) if n >= share * len(costs))
    exact = sorted(costs)[rank - 1]
    assert found is not None
    assert exact < found * 1_000 <= exact * (1 + 1 / 16) + 1


def test_any_number_of_durations_takes_little_memory() -> None:
    latency = Latency()
    for cost in range(0, 10_000_000, 7):
        latency.add(cost)
    assert len(latency._buckets) < 400
    assert latency.quantile_us(0.99) == pytest.approx(9_900, rel=1 / 16)


def test_counts_survive_the_way_as_json() -> None:
    shelf = Shelf()
    vitals = Vitals(Intake(10), shelf, "http", Report("a shelf", 10, 30), 60, now=lambda: NOW)
    vitals.finish(1)
    [report] = shelf.reports
    assert LoggerReport.model_validate_json(report.to_json()) == report
