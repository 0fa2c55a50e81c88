"""Training jobs off the event loop, with what goes wrong as problems."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

from intentloop_admin.problems import ProblemError, not_found, try_later
from intentloop_sink import DatabaseUnavailableError
from intentloop_training.jobs import Job, JobKind, Jobs, JobStateError, UnknownJobError

T = TypeVar("T")


class TrainingJobs:
    """What routes and pages do with jobs; `intentloop jobs` runs them."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def create(self, kind: JobKind, dataset_id: str) -> Job:
        """Add a job for a runner to take."""
        return await _asked(lambda: self._jobs.create(kind, dataset_id))

    async def get(self, job_id: str) -> Job:
        """Return a job. Raises ProblemError when there is none of that id."""
        return await _asked(lambda: self._jobs.get(job_id))

    async def newest(self, dataset_id: str, limit: int) -> list[Job]:
        """Return the jobs of a dataset, the newest first."""
        return await _asked(lambda: self._jobs.newest(dataset_id, limit))

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job. Raises ProblemError when it has ended."""
        return await _asked(lambda: self._jobs.cancel(job_id))

    async def retry(self, job_id: str) -> Job:
        """Add a job that does the same. Raises ProblemError unless it failed or was cancelled."""
        return await _asked(lambda: self._jobs.retry(job_id))


async def _asked(call: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(call)
    except UnknownJobError as error:
        raise not_found("job of that id", "GET /api/training/jobs lists them") from error
    except JobStateError as error:
        raise ProblemError(HTTPStatus.CONFLICT, f"{error}.") from error
    except DatabaseUnavailableError as error:
        raise try_later(f"{error}; try again.") from error
