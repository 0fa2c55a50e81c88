"""Jobs in Postgres and in files: one suite for both, with several runners at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Event, Thread
from typing import Any

import pytest
from pydantic import ValidationError

from intentloop_training.jobs import (
    Job,
    JobKind,
    Jobs,
    JobStateError,
    JobStatus,
    LostClaimError,
    UnknownJobError,
    open_jobs,
)
from intentloop_training.jobs.job import MAX_ATTEMPTS
from intentloop_training.jobs.runner import Pace, Runner
from intentloop_training.progress import Progress

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STALE = timedelta(seconds=30)
DONE = {"promoted": False, "reason": "not promoted: 0 of 3 reviewed", "model_version": "nlu-1"}


@pytest.fixture(params=["files", "postgres"])
def jobs(request: pytest.FixtureRequest, tmp_path: Path) -> Jobs:
    url = None
    if request.param == "postgres":
        url = request.getfixturevalue("database_url")
    return open_jobs(url, tmp_path / "jobs")


@pytest.fixture
def create(jobs: Jobs) -> Callable[..., Job]:
    seconds = iter(range(1000))

    def add(dataset_id: str = "ds") -> Job:
        job = Job.new(JobKind.NLU_TRAIN, dataset_id, NOW + timedelta(seconds=next(seconds)))
        jobs.store.add(job)
        return job

    return add


Create = Callable[..., Job]


def test_a_new_job_waits_and_reads_as_documented(jobs: Jobs) -> None:
    job = jobs.create(JobKind.NLU_TRAIN, "ds-auto-training")
    shown = jobs.get(job.id).model_dump(mode="json", by_alias=True)

    assert shown["kind"] == "nlu-train"
    assert shown["datasetId"] == "ds-auto-training"
    assert shown["status"] == "PENDING"
    assert shown["progress"] == 0
    assert {"id", "secondsLeft", "createdAt", "startedAt", "finishedAt", "snapshot", "result",
            "reason", "modelVersion", "promoted", "log"} <= shown.keys()  # fmt: skip


def test_a_dataset_with_a_wrong_name_is_refused(jobs: Jobs) -> None:
    with pytest.raises(ValidationError):
        jobs.create(JobKind.NLU_TRAIN, "../etc")
    assert jobs.newest() == []


@pytest.mark.parametrize("job_id", ["job-nobody", "../../etc/passwd", ""])
def test_an_unknown_job_is_named(jobs: Jobs, job_id: str) -> None:
    for ask in (jobs.get, jobs.cancel, jobs.retry):
        with pytest.raises(UnknownJobError, match=f"no job '{job_id}'"):
            ask(job_id)


def test_jobs_are_listed_the_newest_first(jobs: Jobs, create: Create) -> None:
    ids = [create(dataset).id for dataset in ("a", "b", "a")]

    assert [job.id for job in jobs.newest()] == ids[::-1]
    assert [job.id for job in jobs.newest("a", limit=1)] == ids[2:]


def test_everything_that_a_job_holds_is_kept(jobs: Jobs, create: Create) -> None:
    create()
    job = jobs.store.claim("r1", NOW, STALE)
    assert job is not None
    changed = jobs.store.change(job.id, lambda held: held.advanced(job.claim, "half", 0.5, NOW))
    changed = jobs.store.change(
        job.id, lambda held: held.completed(job.claim, NOW, result={"a": [1]}, **DONE)
    )

    assert jobs.get(job.id) == changed
    assert changed.result == {"a": [1]}
    assert [line.text for line in changed.log][:2] == ["attempt 1, by r1", "half"]


def test_the_oldest_job_is_given_first_and_only_one_of_a_dataset(
    jobs: Jobs, create: Create
) -> None:
    first, second, other = create("a"), create("a"), create("b")
    given = [jobs.store.claim(f"r{number}", NOW, STALE) for number in range(3)]

    assert [job and job.id for job in given] == [first.id, other.id, None]
    assert given[0] is not None
    claim = given[0].claim
    jobs.store.change(first.id, lambda job: job.completed(claim, NOW, **DONE))
    following = jobs.store.claim("r4", NOW, STALE)
    assert following is not None
    assert following.id == second.id


def test_of_many_runners_at_once_each_job_gets_one(jobs: Jobs, create: Create) -> None:
    ids = [create(f"ds-{number}").id for number in range(6)]
    start = Barrier(6)

    def claim_all(runner: int) -> list[str]:
        start.wait()
        found = []
        while job := jobs.store.claim(f"r{runner}", NOW, STALE):
            found.append(job.id)
        return found

    with ThreadPoolExecutor(6) as pool:
        claimed = [job_id for some in pool.map(claim_all, range(6)) for job_id in some]

    assert sorted(claimed) == sorted(set(claimed))
    assert set(claimed) <= set(ids)
    # Who lost a race looks again; nothing is left over.
    assert len(claimed) == len(ids)


def test_of_many_runners_at_once_one_gets_a_job_of_the_dataset(jobs: Jobs, create: Create) -> None:
    for _ in range(6):
        create("ds")
    start = Barrier(6)

    def claim(runner: int) -> Job | None:
        start.wait()
        return jobs.store.claim(f"r{runner}", NOW, STALE)

    with ThreadPoolExecutor(6) as pool:
        given = [job for job in pool.map(claim, range(6)) if job is not None]
    assert len(given) == 1


def test_a_job_whose_runner_fell_silent_goes_to_another(jobs: Jobs, create: Create) -> None:
    create()
    lost = jobs.store.claim("dead", NOW, STALE)
    assert lost is not None
    assert jobs.store.claim("other", NOW + timedelta(seconds=29), STALE) is None
    later = NOW + timedelta(seconds=31)
    taken = jobs.store.claim("other", later, STALE)

    assert taken is not None
    assert (taken.id, taken.runner, taken.attempt) == (lost.id, "other", 2)
    for late in (
        lambda job: job.alive(lost.claim, later),
        lambda job: job.advanced(lost.claim, "x", 0.5, later),
        lambda job: job.completed(lost.claim, later, **DONE),
        lambda job: job.failed(lost.claim, later, "x"),
    ):
        with pytest.raises(LostClaimError):
            jobs.store.change(lost.id, late)
    assert jobs.get(lost.id) == taken


def test_a_job_that_ends_every_runner_is_given_up(jobs: Jobs, create: Create) -> None:
    create()
    later = NOW
    for _ in range(MAX_ATTEMPTS):
        later += timedelta(minutes=1)
        taken = jobs.store.claim("victim", later, STALE)
        assert taken is not None
        assert taken.status is JobStatus.RUNNING
    ended = jobs.store.claim("careful", later + timedelta(minutes=1), STALE)

    assert ended is not None
    assert ended.status is JobStatus.FAILED
    assert "5 runners died with it" in (ended.reason or "")
    assert jobs.store.claim("careful", later + timedelta(hours=1), STALE) is None


def test_a_waiting_job_is_cancelled_at_once_and_can_be_retried(jobs: Jobs, create: Create) -> None:
    job = create()
    cancelled = jobs.cancel(job.id)
    again = jobs.retry(job.id)

    assert cancelled.status is JobStatus.CANCELLED
    assert cancelled.finished_at is not None
    assert again.retry_of == job.id
    assert again.status is JobStatus.PENDING
    assert jobs.get(job.id).status is JobStatus.CANCELLED
    with pytest.raises(JobStateError, match="is CANCELLED: it cannot be cancelled"):
        jobs.cancel(job.id)
    with pytest.raises(JobStateError, match="only a failed or cancelled job"):
        jobs.retry(again.id)


def test_a_cancelled_job_whose_runner_died_ends(jobs: Jobs, create: Create) -> None:
    create()
    job = jobs.store.claim("dead", NOW, STALE)
    assert job is not None
    assert jobs.cancel(job.id).status is JobStatus.RUNNING
    ended = jobs.store.claim("other", NOW + timedelta(minutes=1), STALE)

    assert ended is not None
    assert ended.status is JobStatus.CANCELLED


@pytest.fixture
def runner(jobs: Jobs) -> Iterator[Callable[..., Runner]]:
    made: list[Runner] = []

    def make(work: Any, **pace: float) -> Runner:
        one = Runner(jobs.store, work, f"r{len(made)}", Pace(**{"poll": 0.01, **pace}))
        made.append(one)
        return one

    yield make
    for one in made:
        one.stop.set()


MakeRunner = Callable[..., Runner]


def test_a_runner_tells_how_far_it_is_and_ends_the_job(
    jobs: Jobs, create: Create, runner: MakeRunner
) -> None:
    job = create()
    seen: list[Job] = []

    def work(_job: Job, progress: Progress) -> dict[str, Any]:
        progress("halfway", 0.5)
        seen.append(jobs.get(job.id))
        return DONE

    assert runner(work).run_one()
    ended = jobs.get(job.id)

    assert (seen[0].status, seen[0].progress) == (JobStatus.RUNNING, 0.5)
    assert seen[0].seconds_left is not None
    assert (ended.status, ended.progress, ended.promoted) == (JobStatus.COMPLETED, 1, False)
    assert ended.reason == DONE["reason"]
    assert not runner(work).run_one()


def test_what_goes_wrong_in_a_job_is_its_reason_and_the_runner_goes_on(
    jobs: Jobs, create: Create, runner: MakeRunner
) -> None:
    job, following = create(), create()

    def work(given: Job, _progress: Progress) -> dict[str, Any]:
        if given.id == job.id:
            raise ValueError("no such intent")
        return DONE

    one = runner(work)
    assert one.run_one()
    assert one.run_one()
    assert jobs.get(job.id).reason == "ValueError: no such intent"
    assert jobs.get(job.id).status is JobStatus.FAILED
    assert jobs.get(following.id).status is JobStatus.COMPLETED


def test_a_running_job_is_cancelled_at_its_next_step(
    jobs: Jobs, create: Create, runner: MakeRunner
) -> None:
    job = create()

    def work(_job: Job, progress: Progress) -> dict[str, Any]:
        jobs.cancel(job.id)
        progress("next step", 0.5)
        pytest.fail("went on")

    assert runner(work).run_one()
    assert jobs.get(job.id).status is JobStatus.CANCELLED


def test_a_runner_that_stops_gives_its_job_back(
    jobs: Jobs, create: Create, runner: MakeRunner
) -> None:
    job = create()
    one = runner(lambda _job, progress: one.stop.set() or progress("next step", 0.5))
    one.run()

    waiting = jobs.get(job.id)
    assert (waiting.status, waiting.attempt, waiting.runner) == (JobStatus.PENDING, 0, None)
    assert runner(lambda _job, _progress: DONE).run_one()
    assert jobs.get(job.id).status is JobStatus.COMPLETED


def test_a_long_step_does_not_look_like_death(
    jobs: Jobs, create: Create, runner: MakeRunner, eventually: Any
) -> None:
    job = create()
    go_on = Event()

    def work(_job: Job, _progress: Progress) -> dict[str, Any]:
        assert go_on.wait(30)
        return DONE

    thread = Thread(target=runner(work, heartbeat=0.05).run_one)
    thread.start()
    try:
        first = eventually(lambda: jobs.get(job.id).heartbeat_at)
        eventually(lambda: jobs.get(job.id).heartbeat_at > first)
    finally:
        go_on.set()
        thread.join(30)
    assert jobs.get(job.id).status is JobStatus.COMPLETED


def test_a_runner_that_was_given_up_changes_nothing_when_it_wakes(
    jobs: Jobs, create: Create, runner: MakeRunner
) -> None:
    job = create()

    def asleep(given: Job, progress: Progress) -> dict[str, Any]:
        taken = jobs.store.claim("other", jobs.now() + timedelta(minutes=1), STALE)
        assert taken is not None
        jobs.store.change(taken.id, lambda held: held.completed(taken.claim, NOW, **DONE))
        progress("awake", 0.5)
        pytest.fail(f"went on with {given.id}")

    assert runner(asleep).run_one()
    ended = jobs.get(job.id)
    assert (ended.status, ended.runner) == (JobStatus.COMPLETED, "other")
