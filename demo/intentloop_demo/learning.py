"""The loop of `intentloop up`: a simulated reviewer, and now and then a training job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from intentloop_demo.reviewer import Reviewer, Truth
from intentloop_demo.settings import SimulationSettings
from intentloop_schemas.event import DEFAULT_DATASET
from intentloop_sink.catalogue import PostgresCatalogue
from intentloop_sink.review import DrawShare
from intentloop_training.jobs import Job, JobKind, Jobs, open_jobs

_AT_ONCE = 20
"""Cards, so that traffic does not wait for the reviewer."""
_AUDIT_EVERY = timedelta(seconds=3)
_LOOK_EVERY = timedelta(seconds=1)
_STORED_WITHIN = timedelta(seconds=5)
"""Messages are drawn this much later, when they have been stored."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the loop is: cards decided in this run, and the last job."""

    reviewed: int
    job: Job | None


class Learning:
    """Does what is due at each step; time is what it is told."""

    def __init__(
        self,
        catalogue: PostgresCatalogue,
        jobs: Jobs,
        truth: Truth,
        settings: SimulationSettings,
        started: datetime,
    ) -> None:
        self._catalogue = catalogue
        self._jobs = jobs
        self._settings = settings
        self._reviewer = Reviewer(catalogue, truth, left_to_people=settings.left_to_people)
        self._drawn_until = started
        self._reviewed_at = started
        self._reviewed = 0
        self._since_job = 0
        self._job: Job | None = None
        self._looked_at = started - _LOOK_EVERY

    def step(self, now: datetime) -> None:
        """Draw audits, review at the pace of the settings, and add a job when it is time.

        Blocks for some 10 ms a card. Raises intentloop_sink.DatabaseUnavailableError.
        """
        self._draw(now - _STORED_WITHIN)
        decided = self._reviewer.review(self._allowed(now))
        self._reviewed += decided
        self._since_job += decided
        self._look(now)
        if self._since_job >= self._settings.train_after and not self._is_training():
            self._job = self._jobs.create(JobKind.NLU_TRAIN, DEFAULT_DATASET)
            self._since_job = 0

    def progress(self) -> Progress:
        """Return how far it is."""
        return Progress(self._reviewed, self._job)

    def _draw(self, until: datetime) -> None:
        if until - self._drawn_until < _AUDIT_EVERY:
            return
        drawing = DrawShare(
            dataset_id=DEFAULT_DATASET,
            since=self._drawn_until,
            until=until,
            share=self._settings.audit_share,
        )
        if self._catalogue.apply(drawing) is not None:
            self._drawn_until = until

    def _allowed(self, now: datetime) -> int:
        """Return how many cards may be looked at; what was not used in time is forgone."""
        per_second = self._settings.reviews_per_minute / 60
        due = int((now - self._reviewed_at).total_seconds() * per_second)
        if due:
            self._reviewed_at = now
        return min(due, _AT_ONCE)

    def _is_training(self) -> bool:
        return self._job is not None and not self._job.status.is_final

    def _look(self, now: datetime) -> None:
        if now - self._looked_at >= _LOOK_EVERY:
            self._job = next(iter(self._jobs.newest(DEFAULT_DATASET, 1)), None)
            self._looked_at = now


@contextmanager
def learning(url: str, truth: Truth, settings: SimulationSettings) -> Iterator[Learning]:
    """Yield the loop over a database."""
    with closing(PostgresCatalogue(url, connections=1)) as catalogue:
        # Jobs in a database need no folder.
        yield Learning(catalogue, open_jobs(url, Path()), truth, settings, datetime.now(UTC))
