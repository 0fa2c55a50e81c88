"""Datasets: create, list, rename, delete."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from intentloop_admin.problems import BODY, ProblemError, documented
from intentloop_admin.routes.dependencies import InPath, ServicesOf
from intentloop_admin.routes.words import Answer
from intentloop_admin.security.access import Where, forbidden, requires
from intentloop_admin.security.keys import Key
from intentloop_admin.security.scopes import Scope
from intentloop_admin.services import Services
from intentloop_sink import catalogue
from intentloop_sink.catalogue import CreateDataset, DeleteDataset, DeleteExamples, RenameDataset
from intentloop_sink.catalogue.datasets import Name
from intentloop_sink.catalogue.edit import Words

router = APIRouter(prefix="/api/training/datasets", tags=["Datasets"])

_USUAL = documented(401, 403, 422, 429, 503)
_WITH_BODY = {**_USUAL, **documented(*BODY)}


class Dataset(Answer):
    """A dataset and how many examples it holds."""

    id: str = Field(examples=["ds-auto-training"])
    name: str = Field(examples=["Auto training"])
    type: str = Field(examples=["nlu"])
    size: int = Field(description="Examples in it.", examples=[1204])
    created_at: datetime
    updated_at: datetime


class NewName(Words):
    """What a dataset is to be called."""

    name: Name


class Deleted(Answer):
    """What was deleted."""

    examples: int


@router.get("", summary="List datasets", responses=documented(401, 403, 429, 503))
async def list_datasets(
    services: ServicesOf, key: Annotated[Key, requires(Scope.READ, Where.ITEMS)]
) -> list[Dataset]:
    """Return the datasets that the key is for."""
    found = await services.stores.read(lambda c: c.datasets.all(key.datasets))
    return [Dataset.model_validate(dataset) for dataset in found]


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    summary="Create a dataset",
    responses={**_WITH_BODY, **documented(409)},
)
async def create_dataset(
    services: ServicesOf,
    new: CreateDataset,
    key: Annotated[Key, requires(Scope.ADMIN, Where.ITEMS)],
) -> Dataset:
    """Create an empty dataset. One that conversations name is created by the first of them."""
    if not key.may_use(new.id):
        raise forbidden(f"This key is not for the dataset {new.id}.")
    created = await services.stores.apply(new)
    if created is None:
        raise ProblemError(
            HTTPStatus.CONFLICT, f"There is a dataset {new.id} already; PATCH it to rename it."
        )
    return Dataset.model_validate(created)


@router.get("/{dataset_id}", summary="Read a dataset", responses={**_USUAL, **documented(404)})
async def read_dataset(
    services: ServicesOf,
    dataset_id: InPath,
    _: Annotated[Key, requires(Scope.READ, Where.PATH)],
) -> Dataset:
    """Return a dataset and its size."""
    return Dataset.model_validate(await existing(services, dataset_id))


@router.patch(
    "/{dataset_id}", summary="Rename a dataset", responses={**_WITH_BODY, **documented(404)}
)
async def rename_dataset(
    services: ServicesOf,
    dataset_id: InPath,
    change: NewName,
    _: Annotated[Key, requires(Scope.ADMIN, Where.PATH)],
) -> Dataset:
    """Give a dataset another name; its id stays."""
    renamed = await services.stores.apply(RenameDataset(id=dataset_id, name=change.name))
    if renamed is None:
        raise _missing(services, dataset_id)
    return Dataset.model_validate(renamed)


@router.delete(
    "/{dataset_id}", summary="Delete a dataset", responses={**_USUAL, **documented(404, 409)}
)
async def delete_dataset(
    services: ServicesOf,
    dataset_id: InPath,
    _: Annotated[Key, requires(Scope.ADMIN, Where.PATH)],
    confirm: Annotated[str | None, Query(description="The dataset's id once more.")] = None,
) -> Deleted:
    """Delete a dataset with its examples, intents and statistics. There is no way back.

    If conversations still come for it, the next one creates it anew.
    """
    if confirm != dataset_id:
        raise ProblemError(
            HTTPStatus.CONFLICT,
            f"This deletes all examples and statistics of {dataset_id}. If that is meant, add "
            f"?confirm={dataset_id}.",
        )
    await existing(services, dataset_id)
    examples = 0
    # Most of them go before the last step, which holds writers up.
    while True:
        step = await services.stores.apply(DeleteExamples(dataset_id=dataset_id))
        examples += step.count
        if not step.more:
            break
    return Deleted(examples=examples + await services.stores.apply(DeleteDataset(id=dataset_id)))


async def existing(services: Services, dataset_id: str) -> catalogue.Dataset:
    """Return a dataset. Raises ProblemError when there is none of that id."""
    found = await services.stores.read(lambda c: c.datasets.one(dataset_id))
    if found is None:
        raise _missing(services, dataset_id)
    return found


def _missing(services: Services, dataset_id: str) -> ProblemError:
    where = "GET /api/training/datasets lists those there are"
    return services.missing(f"dataset {dataset_id}", where)
