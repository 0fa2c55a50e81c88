"""Training jobs: what they are, where they are kept, and the process that runs them."""

from intentloop_training.jobs.job import (
    Claim,
    Job,
    JobKind,
    JobStateError,
    JobStatus,
    LostClaimError,
    UnknownJobError,
)
from intentloop_training.jobs.store import Jobs, JobStore, open_jobs

__all__ = [
    "Claim",
    "Job",
    "JobKind",
    "JobStateError",
    "JobStatus",
    "JobStore",
    "Jobs",
    "LostClaimError",
    "UnknownJobError",
    "open_jobs",
]
