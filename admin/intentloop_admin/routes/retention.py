"""How long datasets keep their examples."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from intentloop_admin.problems import ProblemError, documented
from intentloop_admin.routes.datasets import existing
from intentloop_admin.routes.dependencies import InPath, ServicesOf
from intentloop_admin.routes.words import Answer
from intentloop_admin.security.access import Where, requires
from intentloop_admin.security.keys import Key
from intentloop_admin.security.scopes import Scope
from intentloop_admin.services import Services
from intentloop_sink.catalogue import SetRetention
from intentloop_sink.catalogue.edit import Words
from intentloop_sink.catalogue.retention import Days

router = APIRouter(prefix="/api/training/datasets/{dataset_id}/retention", tags=["Privacy"])

_USUAL = documented(401, 403, 404, 409, 422, 429, 503)


class Retention(Answer):
    """How long a dataset keeps its examples."""

    dataset_id: str = Field(examples=["ds-auto-training"])
    days: int | None = Field(description="By event time; null means for ever.", examples=[90])
    horizon: datetime | None = Field(
        description="What is older was removed, and no replay brings it back."
    )


class NewRetention(Words):
    """How long to keep examples from now on."""

    days: Days | None = Field(description="By event time; null means for ever.", examples=[90])


@router.get("", summary="Read a dataset's retention", responses=_USUAL)
async def read_retention(
    services: ServicesOf,
    dataset_id: InPath,
    _: Annotated[Key, requires(Scope.READ, Where.PATH)],
) -> Retention:
    """Return how long a dataset keeps its examples."""
    await _possible(services, dataset_id)
    found = await services.stores.read(lambda c: c.retentions.one(dataset_id))
    return Retention.model_validate(found)


@router.put("", summary="Set a dataset's retention", responses=_USUAL)
async def set_retention(
    services: ServicesOf,
    dataset_id: InPath,
    new: NewRetention,
    _: Annotated[Key, requires(Scope.ADMIN, Where.PATH)],
) -> Retention:
    """Set how long a dataset keeps its examples; statistics stay.

    `intentloop retention apply`, once a day for example, removes what is older.
    """
    await _possible(services, dataset_id)
    edit = SetRetention(dataset_id=dataset_id, days=new.days)
    return Retention.model_validate(await services.stores.apply(edit))


async def _possible(services: Services, dataset_id: str) -> None:
    await existing(services, dataset_id)
    if services.storage.mode != "postgres":
        raise ProblemError(
            HTTPStatus.CONFLICT,
            "Without a database examples stay in their files; set DATABASE_URL to bound that.",
        )
