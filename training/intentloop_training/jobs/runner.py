"""The process that runs jobs: claims one, works, tells how far it is, and ends it exactly once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from typing import Any

from intentloop_schemas.failpoint import Failpoint, no_failpoint
from intentloop_sink import DatabaseUnavailableError
from intentloop_training.jobs.job import Claim, Job, LostClaimError, UnknownJobError
from intentloop_training.jobs.store import JobStore
from intentloop_training.progress import Progress

Work = Callable[[Job, Progress], dict[str, Any]]
"""Does a job and returns the fields that it ends with. It may be done again by another runner."""

_log = logging.getLogger("intentloop.jobs")


class _CancelledError(Exception):
    """Somebody has cancelled the job."""


class _StoppedError(Exception):
    """The runner has been asked to stop."""


@dataclass(frozen=True)
class Pace:
    """How often a runner looks and beats, and how long another waits for its heartbeat; seconds."""

    poll: float = 1.0
    heartbeat: float = 5.0
    stale: float = 30.0


@dataclass
class Runner:
    """Runs jobs one after the other. As many runners as you like may share a store.

    `stop` ends it: a job at work goes back to the others at its next step. `failpoint` is told of
    the moments between which a death must do no harm.
    """

    store: JobStore
    work: Work
    name: str
    pace: Pace = field(default_factory=Pace)
    stop: Event = field(default_factory=Event)
    failpoint: Failpoint = no_failpoint
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def run(self) -> None:
        """Run jobs until `stop` is set. Blocks. Waits while the database is away."""
        while not self.stop.is_set():
            try:
                did_something = self.run_one()
            except DatabaseUnavailableError as error:
                _log.warning("waiting for the database: %s", error)
                did_something = False
            if not did_something:
                self.stop.wait(self.pace.poll)

    def run_one(self) -> bool:
        """Run the oldest job that may run, if there is one, and tell whether there was.

        Blocks until it has ended. Raises DatabaseUnavailableError; the job is then taken up again
        by whoever comes first.
        """
        stale_after = timedelta(seconds=self.pace.stale)
        job = self.store.claim(self.name, self.now(), stale_after)
        if job is None:
            return False
        if not job.status.is_final:
            self.failpoint("jobs.claimed")
            self._attempt(job)
        return True

    def _attempt(self, job: Job) -> None:
        claim = job.claim
        _log.info("job %s: attempt %d", job.id, job.attempt)
        with _Heart(self, claim) as heart:
            try:
                outcome = self.work(job, heart.step)
                self.failpoint("jobs.before_completed")
                self._end(claim, lambda held: held.completed(claim, self.now(), **outcome))
            except LostClaimError as error:
                _log.warning("job %s: given up: %s", job.id, error)
            except _StoppedError:
                self._end(claim, lambda held: held.released(claim, self.now()))
            except _CancelledError:
                self._end(claim, lambda held: held.cancelled_by_runner(claim, self.now()))
            except DatabaseUnavailableError:
                raise
            except Exception as error:  # noqa: BLE001 - a job may fail in any way
                _log.exception("job %s failed", job.id)
                reason = f"{type(error).__name__}: {error}"
                self._end(claim, lambda held: held.failed(claim, self.now(), reason))

    def _end(self, claim: Claim, change: Callable[[Job], Job]) -> None:
        try:
            job = self.store.change(claim.job_id, change)
        except (LostClaimError, UnknownJobError) as error:
            _log.warning("job %s: its end is not ours to tell: %s", claim.job_id, error)
        else:
            _log.info("job %s: %s%s", job.id, job.status, f", {job.reason}" if job.reason else "")


class _Heart:
    """Beats while a job is at work, and stops the work at its next step when it has to end."""

    def __init__(self, runner: Runner, claim: Claim) -> None:
        self._runner = runner
        self._claim = claim
        self._is_over = Event()
        self._thread = Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> _Heart:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def step(self, what: str, share: float) -> None:
        """Tell how far the work is. Raises to stop it: cancelled, stopped, or no longer ours."""
        claim, now = self._claim, self._runner.now()
        job = self._runner.store.change(
            claim.job_id, lambda held: held.advanced(claim, what, share, now)
        )
        _log.info("job %s: %3.0f %% %s", claim.job_id, 100 * share, what)
        self._runner.failpoint("jobs.step")
        if job.cancel_requested:
            raise _CancelledError
        if self._runner.stop.is_set():
            raise _StoppedError

    def _beat(self) -> None:
        claim = self._claim
        while not self._is_over.wait(self._runner.pace.heartbeat):
            try:
                self._runner.store.change(
                    claim.job_id, lambda held: held.alive(claim, self._runner.now())
                )
            except DatabaseUnavailableError as error:
                _log.warning("job %s: no heartbeat: %s", claim.job_id, error)
            except (LostClaimError, UnknownJobError):
                # The work finds out at its next step.
                return
