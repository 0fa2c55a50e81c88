"""A job and what may become of it. Pure: time and names come from outside."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Self
from uuid import uuid4

from pydantic import Field

from intentloop_schemas.event import DatasetId
from intentloop_training.examples import SnapshotFacts
from intentloop_training.report import Report

MAX_ATTEMPTS = 5
"""A job that ended this many runners without a word is not given to another one."""
MAX_LOG_LINES = 200


class JobStatus(StrEnum):
    """Where a job stands; the last three are final."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_final(self) -> bool:
        """Whether nothing happens any more."""
        return self not in (JobStatus.PENDING, JobStatus.RUNNING)


class JobKind(StrEnum):
    """What a job does."""

    NLU_TRAIN = "nlu-train"


class JobStateError(Exception):
    """What is asked of a job cannot be done in its state."""


class LostClaimError(Exception):
    """A runner no longer holds the job that it works on."""


class UnknownJobError(Exception):
    """There is no job with this id."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"there is no job {job_id!r}")


class Claim(NamedTuple):
    """Who holds a job: a runner that was given up and comes back has an older attempt."""

    job_id: str
    runner: str
    attempt: int


class LogLine(Report):
    """Something that happened."""

    at: datetime
    text: str


class Job(Report):
    """A job as the HTTP API shows it.

    `progress` goes from 0 to 1, `secondsLeft` is an estimate from it. `reason` says why a job
    failed, or why its model was not promoted.
    """

    id: str
    kind: JobKind
    dataset_id: DatasetId
    status: JobStatus = JobStatus.PENDING
    progress: float = 0.0
    seconds_left: float | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    snapshot: SnapshotFacts | None = None
    result: dict[str, Any] | None = None
    reason: str | None = None
    model_version: str | None = None
    promoted: bool | None = None
    retry_of: str | None = None
    cancel_requested: bool = False
    attempt: int = 0
    runner: str | None = None
    heartbeat_at: datetime | None = None
    log: list[LogLine] = Field(default_factory=list)

    @classmethod
    def new(cls, kind: JobKind, dataset_id: str, now: datetime, retry_of: str | None = None) -> Job:
        """Return a new job; ids are in the order of time."""
        job_id = f"job-{now:%Y%m%dt%H%M%S}-{uuid4().hex[:8]}"
        return cls(id=job_id, kind=kind, dataset_id=dataset_id, created_at=now, retry_of=retry_of)

    @property
    def version(self) -> str:
        """The version of the model that the job makes, the same in each attempt."""
        return self.id.replace("job-", "nlu-", 1)

    @property
    def claim(self) -> Claim:
        """Who holds it."""
        return Claim(self.id, self.runner or "", self.attempt)

    def given_to(self, runner: str, now: datetime) -> Self:
        """Return the job in the hands of a runner, or failed when it ended too many of them."""
        if self.attempt >= MAX_ATTEMPTS:
            reason = f"given up: {self.attempt} runners died with it; see their logs"
            return self._ended(JobStatus.FAILED, now, reason=reason)
        if self.cancel_requested:
            return self._ended(JobStatus.CANCELLED, now)
        return self._with(
            status=JobStatus.RUNNING,
            runner=runner,
            attempt=self.attempt + 1,
            started_at=self.started_at or now,
            heartbeat_at=now,
            progress=0.0,
            seconds_left=None,
        )._logged(f"attempt {self.attempt + 1}, by {runner}", now)

    def alive(self, claim: Claim, now: datetime) -> Self:
        """Return the job with a heartbeat. Raises LostClaimError."""
        self._require(claim)
        return self._with(heartbeat_at=now)

    def advanced(self, claim: Claim, what: str, share: float, now: datetime) -> Self:
        """Return the job with a share done, and an estimate of the rest. Raises LostClaimError."""
        self._require(claim)
        started = next((line.at for line in reversed(self.log) if _is_start(line)), now)
        elapsed = (now - started).total_seconds()
        left = elapsed * (1 - share) / share if share > 0 else None
        return self._with(progress=share, seconds_left=left, heartbeat_at=now)._logged(what, now)

    def released(self, claim: Claim, now: datetime) -> Self:
        """Return the job as its runner leaves it in order. Raises LostClaimError."""
        self._require(claim)
        return self._with(
            status=JobStatus.PENDING, runner=None, heartbeat_at=None, attempt=self.attempt - 1
        )._logged(f"{claim.runner} stopped; waits for another runner", now)

    def completed(self, claim: Claim, now: datetime, **outcome: Any) -> Self:
        """Return the job with what came of it. Raises LostClaimError."""
        self._require(claim)
        return self._ended(JobStatus.COMPLETED, now, progress=1.0, **outcome)

    def failed(self, claim: Claim, now: datetime, reason: str) -> Self:
        """Return the job with why it failed. Raises LostClaimError."""
        self._require(claim)
        return self._ended(JobStatus.FAILED, now, reason=reason)

    def cancelled_by_runner(self, claim: Claim, now: datetime) -> Self:
        """Return the job after its runner has obeyed a cancellation. Raises LostClaimError."""
        self._require(claim)
        return self._ended(JobStatus.CANCELLED, now)

    def cancelled(self, now: datetime) -> Self:
        """Return the job cancelled, or asked to end when it runs. Raises JobStateError."""
        if self.status.is_final:
            raise JobStateError(f"job {self.id} is {self.status}: it cannot be cancelled")
        if self.status is JobStatus.PENDING:
            return self._ended(JobStatus.CANCELLED, now)
        return self._with(cancel_requested=True)._logged("cancellation requested", now)

    def retried(self, now: datetime) -> Job:
        """Return a new job that does the same. Raises JobStateError."""
        if self.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
            raise JobStateError(
                f"job {self.id} is {self.status}: only a failed or cancelled job is retried"
            )
        return Job.new(self.kind, self.dataset_id, now, retry_of=self.id)

    def _ended(self, status: JobStatus, now: datetime, **outcome: Any) -> Self:
        text = f"{status}: {outcome['reason']}" if outcome.get("reason") else str(status)
        return self._with(
            status=status, finished_at=now, seconds_left=0.0, heartbeat_at=None, **outcome
        )._logged(text, now)

    def _require(self, claim: Claim) -> None:
        if self.status is not JobStatus.RUNNING or self.claim != claim:
            raise LostClaimError(f"job {self.id} is {self.status} and no longer {claim.runner}'s")

    def _logged(self, text: str, now: datetime) -> Self:
        return self._with(log=[*self.log, LogLine(at=now, text=text)][-MAX_LOG_LINES:])

    def _with(self, **changes: Any) -> Self:
        return self.model_copy(update=changes)


def _is_start(line: LogLine) -> bool:
    return line.text.startswith("attempt ")
