"""Jobs as JSON files, one each, for when there is no database."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from intentloop_sink.spool.durable import make_folder, sync_folder, write_file
from intentloop_training.jobs.job import Job, JobStatus, UnknownJobError
from intentloop_training.jobs.store import Change

_LOCK = "lock"
_ID = re.compile(r"job-[0-9a-z-]{1,64}")


class FileJobStore:
    """A folder of jobs. A file lock orders the writers of one machine; readers never wait."""

    def __init__(self, folder: Path, sync: Callable[[int], None] = os.fsync) -> None:
        self._folder = folder
        self._sync = sync

    def add(self, job: Job) -> None:
        """Keep a new job."""
        with self._locked():
            self._write(job)

    def get(self, job_id: str) -> Job:
        """Return a job. Raises UnknownJobError."""
        try:
            return Job.model_validate_json(self._path(job_id).read_bytes())
        except FileNotFoundError as error:
            raise UnknownJobError(job_id) from error

    def newest(self, dataset_id: str | None = None, limit: int = 100) -> list[Job]:
        """Return jobs, the newest first."""
        jobs = self._all()
        return [job for job in reversed(jobs) if dataset_id in (None, job.dataset_id)][:limit]

    def change(self, job_id: str, change: Change) -> Job:
        """Apply a change while nobody else can. Raises UnknownJobError."""
        with self._locked():
            job = change(self.get(job_id))
            self._write(job)
            return job

    def claim(self, runner: str, now: datetime, stale_after: timedelta) -> Job | None:
        """Give the oldest job that may run to a runner, None when there is none."""
        with self._locked():
            jobs = self._all()
            busy = {job.dataset_id for job in jobs if job.status is JobStatus.RUNNING}
            for job in jobs:
                is_free = job.status is JobStatus.PENDING and job.dataset_id not in busy
                if is_free or _is_stale(job, now - stale_after):
                    taken = job.given_to(runner, now)
                    self._write(taken)
                    return taken
        return None

    def _all(self) -> list[Job]:
        """Return all jobs, the oldest first."""
        paths = self._folder.glob("job-*.json")
        jobs = [Job.model_validate_json(path.read_bytes()) for path in paths]
        return sorted(jobs, key=lambda job: (job.created_at, job.id))

    def _path(self, job_id: str) -> Path:
        if not _ID.fullmatch(job_id):
            raise UnknownJobError(job_id)
        return self._folder / f"{job_id}.json"

    def _write(self, job: Job) -> None:
        path = self._path(job.id)
        new = path.with_suffix(".new")
        write_file(new, job.model_dump_json(by_alias=True).encode(), self._sync)
        new.replace(path)
        sync_folder(self._folder, self._sync)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        make_folder(self._folder, self._sync)
        with (self._folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _is_stale(job: Job, before: datetime) -> bool:
    return (
        job.status is JobStatus.RUNNING
        and job.heartbeat_at is not None
        and job.heartbeat_at < before
    )
