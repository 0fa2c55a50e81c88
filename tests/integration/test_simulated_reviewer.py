"""The simulated reviewer and its loop on a real Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from intentloop_demo.learning import Learning
from intentloop_demo.reviewer import Reviewer, Truth
from intentloop_demo.settings import SimulationSettings
from intentloop_demo.traffic import Customers
from intentloop_demo.utterances import load_utterances
from intentloop_schemas import Entry
from intentloop_sink import PostgresSink, Stored
from intentloop_sink.catalogue import PostgresCatalogue
from intentloop_sink.review import TendQueue
from intentloop_training.jobs import Jobs, JobStatus, open_jobs
from support import tables
from support.batches import batch, entry

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
[MESSAGE] = Customers(load_utterances(), Random(3)).converse(1_700_000_000_000)[:1]


@pytest.fixture
def truth() -> Truth:
    """Customers mean `track_order` by the words "lost 0" to "lost 9"."""
    truth = Truth()
    for number in range(10):
        truth.hear(replace(MESSAGE, text=f"lost {number}", step="main_menu", meant="track_order"))
    return truth


@pytest.fixture
def catalogue(database_url: str) -> Iterator[PostgresCatalogue]:
    with closing(PostgresCatalogue(database_url)) as catalogue:
        yield catalogue


@pytest.fixture
def jobs(database_url: str) -> Jobs:
    return open_jobs(database_url, Path())


def receive(catalogue: PostgresCatalogue, url: str, *entries: Entry) -> None:
    with closing(PostgresSink(url, window_seconds=30, writer="test")) as sink:
        outcome = sink.store(sink.prepare([batch(list(entries))]))
    assert isinstance(outcome, Stored), outcome
    catalogue.apply(TendQueue())


def said(offset: int, text: str, **fields: Any) -> Entry:
    return entry(offset, **{"message_text": text, "current_step": "main_menu", **fields})


def unsure(offset: int, text: str, intent: str = "help") -> Entry:
    return said(offset, text, intent=intent, confidence=0.4)


def reviewed(url: str) -> dict[str, str]:
    rows = tables.query(
        url,
        "SELECT input, intent FROM \"Example\" WHERE tags @> ARRAY['reviewed', 'simulated']",
    )
    return dict(rows)


def test_it_labels_what_it_has_heard_and_leaves_other_cards_open(
    catalogue: PostgresCatalogue, database_url: str, truth: Truth
) -> None:
    receive(catalogue, database_url, unsure(0, "Lost 1!"), unsure(1, "never heard"))

    assert Reviewer(catalogue, truth).review(10) == 1
    assert reviewed(database_url) == {"Lost 1!": "track_order"}
    states = tables.query(database_url, "SELECT text, state FROM review_card ORDER BY text")
    assert states == [("Lost 1!", "decided"), ("never heard", "open")]
    assert tables.query(database_url, "SELECT DISTINCT reviewer FROM review_decision") == [
        ("simulation",)
    ]


def test_it_leaves_the_last_cards_to_people(
    catalogue: PostgresCatalogue, database_url: str, truth: Truth
) -> None:
    receive(catalogue, database_url, *(unsure(n, f"lost {n}") for n in range(6)))

    assert Reviewer(catalogue, truth, left_to_people=4).review(10) == 2


def test_it_keeps_its_pace_and_adds_a_job_when_enough_is_reviewed(
    catalogue: PostgresCatalogue, database_url: str, truth: Truth, jobs: Jobs
) -> None:
    receive(catalogue, database_url, *(unsure(n, f"lost {n}") for n in range(10)))
    settings = SimulationSettings(reviews_per_minute=60, left_to_people=0, train_after=3)
    learning = Learning(catalogue, jobs, truth, settings, NOW)

    learning.step(NOW + timedelta(seconds=2))
    learning.step(NOW + timedelta(seconds=2.5))
    assert (len(reviewed(database_url)), jobs.newest()) == (2, [])

    learning.step(NOW + timedelta(seconds=4))
    assert [job.status for job in jobs.newest()] == [JobStatus.PENDING]
    # That one has to end before there is another.
    learning.step(NOW + timedelta(seconds=10))
    assert len(jobs.newest()) == 1
    assert learning.progress().reviewed == len(reviewed(database_url)) == 10


def test_it_audits_a_share_of_what_was_not_flagged(
    catalogue: PostgresCatalogue, database_url: str, truth: Truth, jobs: Jobs
) -> None:
    at = round(NOW.timestamp() * 1000)
    sure = (said(n, f"lost {n % 10}", intent="track_order", timestamp=at + n) for n in range(40))
    receive(catalogue, database_url, *sure)
    settings = SimulationSettings(reviews_per_minute=6_000, audit_share=0.5, train_after=1_000)
    learning = Learning(catalogue, jobs, truth, settings, NOW)

    learning.step(NOW + timedelta(minutes=1))
    learning.step(NOW + timedelta(minutes=2))
    [(judged, right)] = tables.query(
        database_url,
        "SELECT count(*), count(*) FILTER (WHERE verdict = 'accept') FROM review_decision"
        " WHERE queue = 'audit'",
    )
    assert 5 < judged < 35
    assert right == judged
