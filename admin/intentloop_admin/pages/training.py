"""Training from a dataset's page: a button, and how the jobs are."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from starlette.responses import Response

from intentloop_admin.pages.rendering import go_to, render
from intentloop_admin.routes.datasets import existing
from intentloop_admin.routes.dependencies import InPath, ServicesOf
from intentloop_admin.security.access import Where, requires
from intentloop_admin.security.keys import Key
from intentloop_admin.security.scopes import Scope
from intentloop_training.jobs import JobKind

SHOWN_JOBS = 5

router = APIRouter(prefix="/training/datasets", include_in_schema=False)


@router.post("/{dataset_id}/train")
async def train(
    services: ServicesOf,
    dataset_id: InPath,
    _: Annotated[Key, requires(Scope.TRAIN, Where.PATH)],
) -> Response:
    """Add a job and show the dataset."""
    await existing(services, dataset_id)
    job = await services.jobs.create(JobKind.NLU_TRAIN, dataset_id)
    return go_to(f"/training/datasets/{dataset_id}", done=f"{job.id} waits for a runner.")


@router.get("/{dataset_id}/jobs")
async def jobs(
    request: Request,
    services: ServicesOf,
    dataset_id: InPath,
    _: Annotated[Key, requires(Scope.READ, Where.PATH)],
) -> Response:
    """Show how the latest jobs are, as a part of a page."""
    return render(request, "jobs.html", jobs=await services.jobs.newest(dataset_id, SHOWN_JOBS))
