"""Training from a dataset's page: a button, and how the jobs are."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from starlette.responses import Response

from intentloop_admin.pages.rendering import go_to, render
from intentloop_admin.problems import not_found
from intentloop_admin.routes.dependencies import InPath, ServicesOf
from intentloop_admin.security.access import Where, requires
from intentloop_admin.security.keys import Key
from intentloop_admin.security.scopes import Scope
from intentloop_admin.training import Training

router = APIRouter(prefix="/training/datasets", include_in_schema=False)


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
