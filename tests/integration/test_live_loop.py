"""The loop of `intentloop up` on real parts: review, training, promotion, and better answers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from itertools import count
from pathlib import Path
from random import Random
from typing import Any
from urllib.request import Request, urlopen

import psutil
import pytest
from rich.console import Console

from intentloop_demo.session import Session, open_session
from intentloop_demo.settings import SimulationSettings
from intentloop_demo.traffic import Customers, play
from intentloop_devstack import KafkaServer
from intentloop_devstack.ports import free_port
from intentloop_training.jobs import Job, JobStatus
from support import tables

EAGER = SimulationSettings(
    reviews_per_minute=60_000, audit_share=0.3, left_to_people=0, train_after=40
)
AHEAD = timedelta(seconds=40)
"""What the loop is told the time is, so that messages count as stored that were just sent."""


@pytest.fixture
def given(kafka: KafkaServer, database_url: str) -> dict[str, str]:
    return {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "DATABASE_URL": database_url,
        "BATCH_SECONDS": "0.5",
        "INTENTLOOP_NLU_RELOAD_SECONDS": "0.1",
        # The usual ones may be another test's.
        "INTENTLOOP_NLU_PORT": str(free_port()),
        "INTENTLOOP_API_PORT": str(free_port()),
    }


@pytest.fixture
def nothing_left(eventually: Any) -> Iterator[None]:
    """No process may be left behind."""
    before = set(psutil.Process().children(recursive=True))
    yield
    eventually(lambda: set(psutil.Process().children(recursive=True)) <= before)


def talk(session: Session, conversations: int, seed: int, ahead_ms: int = 0) -> None:
    """Let customers talk for some seconds that end now, or soon, and wait until it is stored."""
    rng = Random(seed)
    customers = Customers(session.parts.understanding.unseen, rng)
    until = time.time_ns() // 1_000_000 + ahead_ms
    session.player.play(
        play(customers, conversations, until_ms=until, minutes=0.2, rng=rng), lambda: None
    )
    session.await_all(lambda: None)


def learn(session: Session, known: str | None) -> Job | None:
    """Let the loop go a step on; return its job when that has ended and is not the known one."""
    assert session.learning
    session.learning.step(datetime.now(UTC) + AHEAD)
    job = session.learning.progress().job
    return job if job and job.status.is_final and job.id != known else None


def models_page(session: Session) -> str:
    assert session.parts.services
    api = session.parts.services.api
    address = f"{api.url}/training/datasets/ds-auto-training/models?columns=window"
    with urlopen(Request(address, headers={"X-API-KEY": api.key}), timeout=10) as answer:
        return str(answer.read().decode())


def shown_by(page: str, start: str) -> tuple[dict[str, int], int, int]:
    """Return the messages of each model, how many were judged, and by a simulated reviewer."""
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    rows = re.findall(r"(\S+) \d\d \w{3} \d{4} [\d:]{8} ([\d,]+) [\d.]+% (\S+)", text)
    assert {version: shown[-1] for version, _, shown in rows}[start] == "%"
    said = re.search(r"(\d+) of (\d+) judged messages were judged by a simulated reviewer", text)
    assert said, text
    return {version: int(n) for version, n, _ in rows}, int(said[2]), int(said[1])


def messages_by_model(url: str) -> dict[str, int]:
    return dict(tables.query(url, 'SELECT "modelVersion", count(*) FROM "Example" GROUP BY 1'))


def stored_in(url: str) -> tuple[dict[str, int], int, int]:
    """Return the same from the tables; nobody but a simulated reviewer has judged."""
    [(judged,)] = tables.query(
        url, "SELECT count(*) FROM review_copy WHERE decision_id IS NOT NULL"
    )
    return messages_by_model(url), judged, judged


def test_reviewed_traffic_makes_a_model_that_answers(
    tmp_path: Path, given: dict[str, str], database_url: str, nothing_left: None, eventually: Any
) -> None:
    console = Console(file=StringIO())
    with open_session(
        tmp_path, given, console, now=datetime.now(UTC), fresh=True, simulation=EAGER
    ) as session:
        # What came before the loop began is not audited.
        talk(session, 250, seed=1, ahead_ms=6_000)
        [start] = messages_by_model(database_url)
        first = eventually(lambda: learn(session, None), 60)
        assert (first.status, first.promoted) == (JobStatus.COMPLETED, True), first
        assert first.snapshot.simulated_reviews >= EAGER.train_after
        assert first.snapshot.seeds > 1_000

        # Others each time: what comes twice is understood as it was before.
        seeds = count(2)

        def served() -> bool:
            talk(session, 2, seed=next(seeds))
            return first.model_version in messages_by_model(database_url)

        eventually(served, 60)
        talk(session, 30, seed=0)
        # Customers talk on meanwhile, so that there may be a second one already.
        learned = messages_by_model(database_url)
        assert first.model_version in learned
        assert sum(learned.values()) - learned[start] > 20
        # The page tells of the past, and the first messages are dated some seconds ahead.
        eventually(lambda: shown_by(models_page(session), start) == stored_in(database_url))

    reviewed = tables.query(
        database_url,
        "SELECT queue, bool_and(reviewer = 'simulation')"
        " FROM review_decision GROUP BY 1 ORDER BY 1",
    )
    assert reviewed == [("audit", True), ("flagged", True)]
    [(decided, marked)] = tables.query(
        database_url,
        "SELECT count(*) FILTER (WHERE tags @> ARRAY['reviewed']),"
        " count(*) FILTER (WHERE tags @> ARRAY['reviewed', 'simulated']) FROM \"Example\"",
    )
    assert decided == marked >= EAGER.train_after


@pytest.mark.slow_fault
def test_a_killed_up_takes_all_its_parts_with_it(
    tmp_path: Path, given: dict[str, str], eventually: Any
) -> None:
    command = [sys.executable, "-m", "intentloop_cli", "up", "--folder", str(tmp_path)]
    with subprocess.Popen(command, env=given, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert any("export KEY" in line for line in process.stdout)
        parts = psutil.Process(process.pid).children(recursive=True)
        # Worker, runner of jobs, NLU and API, each under a guard.
        assert len(parts) >= 8
        process.send_signal(signal.SIGKILL)

    eventually(lambda: not any(part.is_running() for part in parts), 40)
