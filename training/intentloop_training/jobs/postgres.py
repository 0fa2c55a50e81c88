"""Jobs in Postgres, one row each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, and_, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from intentloop_sink.connection import session
from intentloop_sink.tables import training_job
from intentloop_training.jobs.job import Job, JobStatus, UnknownJobError
from intentloop_training.jobs.store import Change

_ROW = training_job.c


class PostgresJobStore:
    """The table training_job. Every method raises DatabaseUnavailableError while it is away."""

    def __init__(self, url: str) -> None:
        self._url = url

    def add(self, job: Job) -> None:
        """Keep a new job."""
        with _session(self._url) as connection:
            connection.execute(insert(training_job).values(_columns(job)))

    def get(self, job_id: str) -> Job:
        """Return a job. Raises UnknownJobError."""
        with _session(self._url) as connection:
            return _one(connection, job_id, select(training_job))

    def newest(self, dataset_id: str | None = None, limit: int = 100) -> list[Job]:
        """Return jobs, the newest first."""
        query = select(training_job).order_by(_ROW.created_at.desc(), _ROW.id.desc()).limit(limit)
        if dataset_id is not None:
            query = query.where(_ROW.dataset_id == dataset_id)
        with _session(self._url) as connection:
            return [_job(row) for row in connection.execute(query)]

    def change(self, job_id: str, change: Change) -> Job:
        """Apply a change while nobody else can. Raises UnknownJobError."""
        with _session(self._url) as connection:
            job = change(_one(connection, job_id, select(training_job).with_for_update()))
            _update(connection, job)
            return job

    def claim(self, runner: str, now: datetime, stale_after: timedelta) -> Job | None:
        """Give the oldest job that may run to a runner, None when there is none."""
        try:
            with _session(self._url) as connection:
                row = connection.execute(_claimable(now - stale_after)).first()
                if row is None:
                    return None
                job = _job(row).given_to(runner, now)
                _update(connection, job)
                return job
        except IntegrityError:
            # Another runner has just begun with another job of the same dataset.
            return None


@contextmanager
def _session(url: str) -> Iterator[Connection]:
    """Yield a connection in a transaction that ends even when its process is frozen in it."""
    with session(url, "jobs") as connection:
        # A runner that is stopped with a job's row in its hands must not keep it for ever.
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = '5s'")
        yield connection


def _claimable(stale_before: datetime) -> Select[Any]:
    running = training_job.alias("running")
    is_busy = (
        select(running.c.id)
        .where(running.c.dataset_id == _ROW.dataset_id, running.c.status == JobStatus.RUNNING)
        .exists()
    )
    is_free = and_(_ROW.status == JobStatus.PENDING, ~is_busy)
    is_stale = and_(_ROW.status == JobStatus.RUNNING, _ROW.heartbeat_at < stale_before)
    return (
        select(training_job)
        .where(or_(is_free, is_stale))
        .order_by(_ROW.created_at, _ROW.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=training_job)
    )


def _one(connection: Connection, job_id: str, query: Select[Any]) -> Job:
    row = connection.execute(query.where(_ROW.id == job_id)).first()
    if row is None:
        raise UnknownJobError(job_id)
    return _job(row)


def _update(connection: Connection, job: Job) -> None:
    connection.execute(update(training_job).where(_ROW.id == job.id).values(_columns(job)))


def _columns(job: Job) -> dict[str, Any]:
    """Return a job as a row: its fields are the columns; what is nested is JSON."""
    nested = job.model_dump(mode="json", by_alias=True, include={"snapshot", "result", "log"})
    return {**job.model_dump(), **nested}


def _job(row: Any) -> Job:
    return Job.model_validate(row._asdict())
