"""The report: it says what the figures are, and fits 80 columns."""

import re
import shlex
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO

import pytest
from rich.cells import cell_len
from rich.console import Console

from intentloop_demo.learning import Progress
from intentloop_demo.report import Places, Report, histogram, psql, render, status
from intentloop_demo.results import (
    Hour,
    IntentFigures,
    Sent,
    Totals,
    WindowFigures,
    by_intent,
)
from intentloop_training.jobs import Job, JobKind, JobStatus

LOW = (0,) * 10 + (3, 0, 0, 2, 0, 0, 0, 7, 90, 700)
REPORT = Report(
    Sent(messages=6_053, redelivered=61, understood=5_471, damaged=12),
    Totals(5_992, 61, 12, 1_007, 608, 4.25),
    [
        IntentFigures("track_order", 802, 0.912, 0.1234, LOW),
        IntentFigures("a_label_of_somebody_elses_" + "x" * 100, 3, 0.5, 1.0, (0,) * 9 + (3,) * 11),
    ],
    [WindowFigures(datetime(2026, 1, 2, 3, 4, 30, tzinfo=UTC), 30, 431, 77, 5, 0.8812)],
    Places(
        kafka="Apache Kafka 4.1.1 on Java at 127.0.0.1:30123, data in /a/rather/long/place/kafka",
        postgres="PostgreSQL 15 on port 30124",
        topic="intentloop.conversations.v1",
        database_url="postgresql://postgres@127.0.0.1:30124/" + "intentloop" * 8,
        folder="/a/" + "long/" * 30,
        bot_log="var/bot.log",
        worker_log="var/worker/server.log",
        still_running=False,
    ),
)


def printed(renderable, width=80):
    out = StringIO()
    Console(file=out, width=width, color_system=None).print(renderable)
    return out.getvalue()


def flat(text):
    return " ".join(text.split())


def loop(**fields):
    job = Job.new(JobKind.NLU_TRAIN, "ds-auto-training", datetime(2026, 1, 2, tzinfo=UTC))
    return Progress(1_234, job.model_copy(update=fields))


def test_the_loop_says_who_reviewed_and_what_came_of_the_last_job():
    done = {"status": JobStatus.COMPLETED, "progress": 1.0, "model_version": "nlu-7"}
    passed = flat(printed(status(REPORT, loop(**done, promoted=True))))
    failed = flat(printed(status(REPORT, loop(**done, reason="not promoted: 3 of 9 right"))))

    assert "1,234 cards, by a simulation" in passed
    assert "is COMPLETED, 100%" in passed
    assert "nlu-7 promoted" in passed
    assert "not promoted: 3 of 9 right" in failed
    assert "promoted" not in flat(printed(status(REPORT, loop(model_version="nlu-7"))))
    assert "no job yet" in printed(status(REPORT, Progress(0, None)))


def test_without_a_simulated_reviewer_it_says_how_to_have_one():
    assert "INTENTLOOP_SIMULATION_REVIEWER" in printed(status(REPORT))


@pytest.mark.parametrize("view", [render, status, lambda report: status(report, loop())])
def test_no_line_is_longer_than_80_columns(view):
    assert max(cell_len(line) for line in printed(view(REPORT)).splitlines()) <= 80


def test_says_what_came_of_it():
    text = flat(printed(render(REPORT)))

    for figure in (
        "produced 6,065 6,053 messages, 12 records",
        "stored 5,992",
        "duplicates 61 61 webhooks",
        "rejected 12",
        "intentloop.conversations.v1.dlq",
        "flagged 1,007 16.8 %",
        "batches 608",
        "events/s 1,427",
        "understood 5,471 90.4 %",
        "produced 6,065 = stored 5,992 + duplicates 61 + rejected 12",
        "track_order 802 0.91 12.3 %",
        "03:04:30 + 30 s 431 0.88 17.9 % 5",
        "Apache Kafka 4.1.1",
        "make up",
        "var/bot.log",
    ):
        assert figure in text, figure


@pytest.mark.parametrize(
    ("stored", "verdict"),
    [(5_990, "produced 6,065 ≠ stored 5,990 + duplicates 61 + rejected 12: 2 missing"),
     (5_993, "produced 6,065 ≠ stored 5,993 + duplicates 61 + rejected 12: 1 too many")],
)  # fmt: skip
def test_says_when_it_does_not_add_up(stored, verdict):
    report = replace(REPORT, totals=replace(REPORT.totals, stored=stored))

    assert REPORT.adds_up
    assert not report.adds_up
    assert verdict in flat(printed(render(report)))


def test_a_database_that_stays_is_not_said_to_have_stopped():
    report = replace(REPORT, places=replace(REPORT.places, still_running=True))

    assert "have stopped" in flat(printed(render(REPORT)))
    assert "have stopped" not in flat(printed(render(report)))


def test_nothing_yet_is_shown_without_dividing_by_it():
    text = flat(printed(status(Report(Sent(), Totals(), [], [], REPORT.places))))

    assert "produced 0" in text
    assert "events/s 0" in text


def test_the_commands_are_the_contract_when_a_shell_has_read_them():
    text = printed(render(REPORT))
    commands = re.findall(r'psql "\$DATABASE_URL" -c ".*?(?<!\\)"', text, re.DOTALL)
    queries = [flat(shlex.split(command)[3]) for command in commands]

    assert queries == [
        """SELECT * FROM "Dataset" WHERE id = 'ds-auto-training'""",
        (
            'SELECT id, input, intent, tags, "createdAt" FROM "Example" '
            """WHERE "datasetId" = 'ds-auto-training' ORDER BY "createdAt" DESC LIMIT 20"""
        ),
        (
            "SELECT CASE WHEN tags @> ARRAY['needs_review'] THEN 'Low Confidence' "
            "ELSE 'High Confidence' END as category, COUNT(*) as count "
            """FROM "Example" WHERE "datasetId" = 'ds-auto-training' GROUP BY category"""
        ),
    ]


def test_psql_quotes_for_the_shell():
    assert psql('SELECT "a"\n  FROM b').plain == r'psql "$DATABASE_URL" -c "SELECT \"a\" FROM b"'


def test_histogram_shows_the_highest_in_full_and_the_smallest_at_all():
    drawn = histogram((0, 1, 1_000, 250))

    assert drawn[0] == " "
    assert drawn[1] == "▁"
    assert drawn[2] == "█"
    assert "▁" < drawn[3] < "█"
    assert histogram((0,) * 20) == " " * 20


def test_intents_add_up_over_hours_and_channels():
    bins = [[0] * 18 + [1, 1], [0] * 18 + [0, 2]]
    hours = [
        Hour("bye", 2, 1, Decimal(1_500_000), bins[0]),
        Hour("track_order", 1, 0, Decimal(900_000), bins[0]),
        Hour("track_order", 2, 1, Decimal(1_200_000), bins[1]),
    ]

    track_order, bye = by_intent(hours)

    assert track_order == IntentFigures(
        "track_order", 3, pytest.approx(0.7), pytest.approx(1 / 3), (0,) * 18 + (1, 3)
    )
    assert (bye.intent, bye.count, bye.mean_confidence) == ("bye", 2, 0.75)
