"""Training jobs: start one, see how it is, cancel it, have it done again."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field, StringConstraints

from intentloop_admin.problems import BODY, documented
from intentloop_admin.routes.datasets import existing
from intentloop_admin.routes.dependencies import ServicesOf
from intentloop_admin.security.access import Where, forbidden, requires
from intentloop_admin.security.keys import Key
from intentloop_admin.security.scopes import Scope
from intentloop_schemas.event import DEFAULT_DATASET, DatasetId
from intentloop_sink.catalogue.edit import Words
from intentloop_training.jobs import Job, JobKind

router = APIRouter(prefix="/api/training/jobs", tags=["Training"])

_USUAL = documented(401, 403, 404, 422, 429, 503)

JobId = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9-]{1,64}$"),
    Path(examples=["job-20261125t120000-1c2f9a07"]),
]


class NewJob(Words):
    """What is to be done."""

    kind: JobKind
    dataset_id: DatasetId = Field(DEFAULT_DATASET, examples=[DEFAULT_DATASET])


@router.post(
    "",
    status_code=HTTPStatus.ACCEPTED,
    summary="Train a model",
    responses={**_USUAL, **documented(*BODY)},
)
async def create(
    services: ServicesOf, new: NewJob, key: Annotated[Key, requires(Scope.TRAIN, Where.ITEMS)]
) -> Job:
    """Add a job that trains a model on a dataset. A runner, `intentloop jobs`, takes it up."""
    _require(key, new.dataset_id)
    await existing(services, new.dataset_id)
    return await services.jobs.create(new.kind, new.dataset_id)


@router.get("", summary="List jobs", responses=documented(401, 403, 422, 429, 503))
async def newest(
    services: ServicesOf,
    _: Annotated[Key, requires(Scope.READ, Where.QUERY)],
    dataset_id: Annotated[DatasetId, Query(alias="datasetId")] = DEFAULT_DATASET,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> list[Job]:
    """Return the jobs of a dataset, the newest first."""
    return await services.jobs.newest(dataset_id, limit)


@router.get("/{job_id}", summary="Read a job", responses=_USUAL)
async def read(
    services: ServicesOf, job_id: JobId, key: Annotated[Key, requires(Scope.READ, Where.ITEMS)]
) -> Job:
    """Return a job: how far it is, what came of it, or why it failed."""
    return await _permitted(services, job_id, key)


@router.post("/{job_id}/cancel", summary="Cancel a job", responses={**_USUAL, **documented(409)})
async def cancel(
    services: ServicesOf, job_id: JobId, key: Annotated[Key, requires(Scope.TRAIN, Where.ITEMS)]
) -> Job:
    """Cancel a job; a running one ends at its next step."""
    await _permitted(services, job_id, key)
    return await services.jobs.cancel(job_id)


@router.post(
    "/{job_id}/retry",
    status_code=HTTPStatus.ACCEPTED,
    summary="Have a job done again",
    responses={**_USUAL, **documented(409)},
)
async def retry(
    services: ServicesOf, job_id: JobId, key: Annotated[Key, requires(Scope.TRAIN, Where.ITEMS)]
) -> Job:
    """Add a job that does what a failed or cancelled one did not."""
    await _permitted(services, job_id, key)
    return await services.jobs.retry(job_id)


async def _permitted(services: ServicesOf, job_id: str, key: Key) -> Job:
    job = await services.jobs.get(job_id)
    _require(key, job.dataset_id)
    return job


def _require(key: Key, dataset_id: str) -> None:
    if not key.may_use(dataset_id):
        raise forbidden(f"This key is not for the dataset {dataset_id}.")
