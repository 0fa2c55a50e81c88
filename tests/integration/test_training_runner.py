"""`intentloop jobs` as a process: it trains from the store, and dies at any moment without harm."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import pytest

from intentloop_training.card import ModelCard
from intentloop_training.examples import LabelledExample
from intentloop_training.jobs import Job, JobKind, Jobs, JobStatus, open_jobs
from intentloop_training.jobs.nlu_train import NluTraining
from intentloop_training.jobs.runner import Pace, Runner
from intentloop_training.recipe import Recipe
from intentloop_training.registry import ModelRegistry
from intentloop_training.sources import FileExamples, PostgresExamples
from support import tables
from support.lessons import DATASET, misspelt, reviewed, some_utterances

ROWS = reviewed(misspelt(some_utterances(), times=2))
PRELOADED = ["pytest", "intentloop_training.jobs.nlu_train", "intentloop_training.sources"]


@dataclass
class Site:
    """A store, a folder of models, and runners that work on both."""

    jobs: Jobs
    registry: ModelRegistry
    folder: Path
    environment: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, **more: str) -> subprocess.Popen[bytes]:
        log = self.folder / f"runner-{len(self.processes)}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "intentloop_cli", "jobs"],
                env={**os.environ, **self.environment, **more},
                stdout=stream,
                stderr=stream,
            )
        self.processes.append(process)
        return process

    def create(self) -> Job:
        return self.jobs.create(JobKind.NLU_TRAIN, DATASET)

    def ended(self, job: Job) -> Job | None:
        found = self.jobs.get(job.id)
        return found if found.status.is_final else None

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in self.folder.glob("runner-*.log"))


def as_json(row: LabelledExample) -> dict[str, Any]:
    return {
        "id": row.id,
        "input": row.text,
        "intent": row.intent,
        "predictedIntent": row.predicted_intent,
        "confidence": row.confidence,
        "tags": ["confidence:60", "reviewed"],
        "createdAt": row.created_at.isoformat(),
        "language": row.language,
        "currentStep": None,
    }


def store_in_postgres(url: str) -> None:
    tables.query(
        url,
        """
        INSERT INTO "Example" (id, "datasetId", input, intent, tags, "createdAt", "eventId",
          "predictedIntent", confidence, "reviewReasons", sender, channel, "modelVersion", language)
        SELECT id, %s, input, intent, tags, "createdAt", id, "predictedIntent", confidence, '{}',
          'sender', 'web', '', language
        FROM jsonb_to_recordset(%s::jsonb) AS row (id text, input text, intent text, tags text[],
          "createdAt" timestamptz, "predictedIntent" text, confidence double precision,
          language text)
        """,
        DATASET,
        json.dumps([as_json(row) for row in ROWS]),
    )


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    url = None
    if request.param == "postgres":
        url = request.getfixturevalue("database_url")
        store_in_postgres(url)
    else:
        (tmp_path / "datasets").mkdir()
        lines = "".join(json.dumps(as_json(row)) + "\n" for row in ROWS)
        (tmp_path / "datasets" / f"{DATASET}.jsonl").write_text(lines)
    environment = {
        "DATABASE_URL": url or "",
        "INTENTLOOP_MODELS_DIR": str(tmp_path / "models"),
        "INTENTLOOP_JOBS_DIR": str(tmp_path / "jobs"),
        "INTENTLOOP_DATASETS_DIR": str(tmp_path / "datasets"),
        "INTENTLOOP_JOB_HEARTBEAT_SECONDS": "0.2",
        "INTENTLOOP_JOB_STALE_SECONDS": "3",
    }
    site = Site(
        open_jobs(url, tmp_path / "jobs"),
        ModelRegistry(tmp_path / "models", DATASET),
        tmp_path,
        environment,
    )
    yield site
    for process in site.processes:
        process.kill()
        process.wait()


in_both = pytest.mark.parametrize("site", ["files", "postgres"], indirect=True)


def assert_ended_once(job: Job) -> None:
    final = [line.text for line in job.log if line.text.split(":")[0] in set(JobStatus)]
    assert len(final) == 1, [line.text for line in job.log]


def assert_all_models_are_whole(site: Site) -> None:
    left = [path.name for path in (site.folder / "models" / DATASET).iterdir()]
    assert not [name for name in left if name.startswith(".unfinished")]
    for version in site.registry.versions():
        site.registry.load(version).parse(["hello"])
        assert ModelCard.load(site.registry.folder_of(version)).version == version


@in_both
def test_a_runner_trains_promotes_and_stops_in_order(site: Site, eventually: Any) -> None:
    job = site.create()
    runner = site.start()
    ended = eventually(lambda: site.ended(job), 120)

    assert (ended.status, ended.promoted, ended.reason) == (JobStatus.COMPLETED, True, None)
    assert ended.snapshot.rows == ended.snapshot.reviewed == len(ROWS)
    assert ended.result["accuracy"]["value"] > 0.8
    assert site.registry.promotions().current == ended.model_version
    texts = [line.text for line in ended.log]
    assert f"read {len(ROWS)} messages, {len(ROWS)} reviewed" in texts
    runner.send_signal(signal.SIGTERM)
    assert runner.wait(20) == 0


@pytest.mark.slow_fault
@pytest.mark.parametrize("site", ["files"], indirect=True)
@pytest.mark.parametrize(
    "moment", ["jobs.claimed", "jobs.step:4", "jobs.before_promote", "jobs.before_completed"]
)
def test_a_runner_that_is_killed_costs_only_time(site: Site, moment: str, eventually: Any) -> None:
    job = site.create()
    assert site.start(INTENTLOOP_FAILPOINT=moment).wait(120) == -signal.SIGKILL
    assert not site.jobs.get(job.id).status.is_final
    site.start()
    ended = eventually(lambda: site.ended(job), 120)

    assert (ended.status, ended.promoted, ended.attempt) == (JobStatus.COMPLETED, True, 2)
    assert_ended_once(ended)
    assert site.registry.promotions().promoted == [ended.model_version]
    assert site.registry.versions() == [ended.model_version]
    assert_all_models_are_whole(site)


@pytest.mark.fault
@pytest.mark.parametrize("site", ["postgres"], indirect=True)
def test_a_frozen_runner_that_wakes_changes_nothing(site: Site, eventually: Any) -> None:
    job = site.create()
    frozen = site.start(INTENTLOOP_FAILPOINT="jobs.before_promote:1:stop")
    eventually(lambda: _is_stopped(frozen.pid), 120)
    site.start()
    ended = eventually(lambda: site.ended(job), 120)
    frozen.send_signal(signal.SIGCONT)
    eventually(lambda: "its end is not ours to tell" in site.logs(), 60)

    assert (ended.status, ended.attempt) == (JobStatus.COMPLETED, 2)
    assert site.jobs.get(job.id) == ended
    assert site.registry.promotions().promoted == [ended.model_version]
    assert_all_models_are_whole(site)


def _is_stopped(pid: int) -> bool:
    """Whether the thread that works has been stopped by its signal."""
    states = Path(f"/proc/{pid}/task").glob("*/stat")
    return any(state.read_text().rsplit(")", 1)[1].split()[0] == "T" for state in states)


@pytest.mark.fault
@pytest.mark.parametrize(
    "kills", [4, pytest.param(20, marks=[pytest.mark.slow_fault, pytest.mark.timeout(900)])]
)
@in_both
def test_runners_killed_at_random_and_each_job_ends_once(
    site: Site, kills: int, eventually: Any
) -> None:
    rng, created = Random(), [site.create()]
    for _ in range(kills):
        if site.jobs.get(created[-1].id).status.is_final:
            created.append(site.create())
        before = site.jobs.get(created[-1].id)
        with forked_runner(site) as runner:
            eventually(lambda old=before: has_moved(site, old), 60)
            # It may be over before: the moment of death is what is random.
            runner.join(rng.uniform(0, 1))
    with forked_runner(site):
        ends = [eventually(lambda one=job: site.ended(one), 120) for job in created]
        # What the dead have left of their models the next one removes.
        last = site.create()
        ends.append(eventually(lambda: site.ended(last), 120))
    for ended in ends:
        assert_ended_once(ended)
        assert ended.status is JobStatus.COMPLETED or "runners died" in ended.reason
    assert_all_models_are_whole(site)
    promoted = site.registry.promotions().promoted
    assert len(promoted) == len(set(promoted))


def has_moved(site: Site, old: Job) -> bool:
    """Whether a job was given to a runner since, or given up."""
    job = site.jobs.get(old.id)
    return job.attempt > old.attempt or job.status.is_final


@contextmanager
def forked_runner(site: Site) -> Iterator[BaseProcess]:
    """A runner that is there soon, because it need not import much; killed at the end."""
    url = site.environment["DATABASE_URL"] or None
    # A child of the tests' own process could crash over connections that others have left there.
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=run_runner, args=(url, site.folder), daemon=True)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def run_runner(url: str | None, folder: Path) -> None:
    examples = PostgresExamples(url) if url else FileExamples(folder / "datasets")
    work = NluTraining(examples, folder / "models", Recipe())
    store = open_jobs(url, folder / "jobs").store
    Runner(store, work, uuid4().hex, Pace(poll=0.05, heartbeat=0.2, stale=1.0)).run()
