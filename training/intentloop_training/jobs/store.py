"""Where jobs are kept, and what the API and the command line may do with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from intentloop_training.jobs.job import Job, JobKind

Change = Callable[[Job], Job]


class JobStore(Protocol):
    """Keeps jobs. Each method is atomic, whoever else works on the same store."""

    def add(self, job: Job) -> None:
        """Keep a new job."""
        ...

    def get(self, job_id: str) -> Job:
        """Return a job. Raises UnknownJobError."""
        ...

    def newest(self, dataset_id: str | None = None, limit: int = 100) -> list[Job]:
        """Return jobs, the newest first."""
        ...

    def change(self, job_id: str, change: Change) -> Job:
        """Apply a change while nobody else can, and return the job; what it raises stops it.

        Raises UnknownJobError.
        """
        ...

    def claim(self, runner: str, now: datetime, stale_after: timedelta) -> Job | None:
        """Give the oldest job that may run to a runner, None when there is none.

        May run: what is pending while no job of its dataset runs, and what is running without a
        heartbeat for `stale_after`. Two runners never get the same job.
        """
        ...


@dataclass(frozen=True)
class Jobs:
    """What users do with jobs; every call blocks for a moment."""

    store: JobStore
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def create(self, kind: JobKind, dataset_id: str) -> Job:
        """Add a job for `intentloop jobs` to run. Raises pydantic.ValidationError."""
        job = Job.new(kind, dataset_id, self.now())
        self.store.add(job)
        return job

    def get(self, job_id: str) -> Job:
        """Return a job. Raises UnknownJobError."""
        return self.store.get(job_id)

    def newest(self, dataset_id: str | None = None, limit: int = 100) -> list[Job]:
        """Return jobs, the newest first."""
        return self.store.newest(dataset_id, limit)

    def cancel(self, job_id: str) -> Job:
        """Cancel a job, at once or at its runner's next step.

        Raises UnknownJobError, and JobStateError when it has ended.
        """
        return self.store.change(job_id, lambda job: job.cancelled(self.now()))

    def retry(self, job_id: str) -> Job:
        """Add a job that does what a failed or cancelled one did not.

        Raises UnknownJobError and JobStateError.
        """
        job = self.store.get(job_id).retried(self.now())
        self.store.add(job)
        return job


def open_jobs(database_url: str | None, folder: Path) -> Jobs:
    """Return the jobs in a database, or in files when there is no database. Opens nothing yet."""
    from intentloop_training.jobs.files import FileJobStore
    from intentloop_training.jobs.postgres import PostgresJobStore

    return Jobs(PostgresJobStore(database_url) if database_url else FileJobStore(folder))
