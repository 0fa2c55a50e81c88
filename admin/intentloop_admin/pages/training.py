"""The seam to training: what the dataset page shows of jobs, and how it starts one.

Whoever runs jobs gives `Services.training` something of this shape; without it the page has no
train button.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Protocol

from fastapi import APIRouter, Request
from starlette.responses import Response

from intentloop_admin.pages.rendering import go_to, render
from intentloop_admin.problems import not_found
from intentloop_admin.routes.dependencies import InPath, ServicesOf
from intentloop_admin.security.access import Where, requires
from intentloop_admin.security.keys import Key
from intentloop_admin.security.scopes import Scope

router = APIRouter(prefix="/training/datasets", include_in_schema=False)


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as a page shows it."""

    id: str
    status: str
    """In words: waiting, running, done, failed."""
    progress: float
    """From 0 to 1."""
    detail: str
    """The step it is at, what came of it, or why it failed."""
    started_at: datetime
    is_over: bool


class Training(Protocol):
    """Starts training jobs and tells how they are. Raises ProblemError when it cannot now."""

    async def start(self, dataset_id: str, started_by: str) -> JobView:
        """Start training on a dataset."""
        ...

    async def jobs(self, dataset_id: str) -> Sequence[JobView]:
        """Return the latest jobs of a dataset, the newest first."""
        ...


@router.post("/{dataset_id}/train")
async def train(
    services: ServicesOf,
    dataset_id: InPath,
    key: Annotated[Key, requires(Scope.TRAIN, Where.PATH)],
) -> Response:
    """Start a job and show the dataset."""
    job = await _training(services.training).start(dataset_id, key.id)
    return go_to(f"/training/datasets/{dataset_id}", done=f"Training {job.id} has started.")


@router.get("/{dataset_id}/jobs")
async def jobs(
    request: Request,
    services: ServicesOf,
    dataset_id: InPath,
    _: Annotated[Key, requires(Scope.READ, Where.PATH)],
) -> Response:
    """Show how the latest jobs are, as a part of a page."""
    found = await _training(services.training).jobs(dataset_id)
    return render(request, "jobs.html", training=found)


def _training(training: Training | None) -> Training:
    if training is None:
        raise not_found("training here", "this API was started without it")
    return training
