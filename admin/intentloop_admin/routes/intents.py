"""Intents of a dataset: what they mean, and what they are called."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from intentloop_admin.problems import BODY, documented
from intentloop_admin.routes.datasets import existing
from intentloop_admin.routes.dependencies import InPath, ServicesOf
from intentloop_admin.routes.words import Answer
from intentloop_admin.security.access import Where, requires
from intentloop_admin.security.keys import Key
from intentloop_admin.security.scopes import Scope
from intentloop_schemas.event import Intent as IntentName
from intentloop_sink.catalogue import DescribeIntent, Relabel
from intentloop_sink.catalogue.edit import Words
from intentloop_sink.catalogue.intents import Description

# Names stand in bodies, not in paths: many have a slash in them.
router = APIRouter(prefix="/api/training/datasets/{dataset_id}/intents", tags=["Intents"])

_USUAL = documented(401, 403, 404, 422, 429, 503)
_WITH_BODY = {**_USUAL, **documented(*BODY)}


class Intent(Answer):
    """An intent, and how often the model predicted it."""

    name: str = Field(examples=["track_order"])
    description: str = Field(examples=["Where is my parcel?"])
    predictions: int
    mean_confidence: float | None = Field(description="Null when the model never predicted it.")


class Meaning(Words):
    """What an intent means."""

    intent: IntentName
    description: Description


class Renaming(Words):
    """One label, and what it is to be called."""

    intent: IntentName
    to: IntentName


class Merger(Words):
    """Labels that mean the same, and the one that stays."""

    intents: list[IntentName] = Field(min_length=1, max_length=100)
    to: IntentName


class Relabelled(Answer):
    """How many examples got another label."""

    examples: int


@router.get("", summary="List intents", responses=_USUAL)
async def list_intents(
    services: ServicesOf,
    dataset_id: InPath,
    _: Annotated[Key, requires(Scope.READ, Where.PATH)],
) -> list[Intent]:
    """Return the intents that the model predicted or people named, the most frequent first."""
    await existing(services, dataset_id)
    found = await services.stores.read(lambda c: c.intents.all(dataset_id))
    return [Intent.model_validate(intent) for intent in found]


@router.put("", summary="Describe an intent", responses=_WITH_BODY)
async def describe_intent(
    services: ServicesOf,
    dataset_id: InPath,
    meaning: Meaning,
    _: Annotated[Key, requires(Scope.REVIEW, Where.PATH)],
) -> Meaning:
    """Say what an intent means, for those who review; a new one becomes known by it."""
    await existing(services, dataset_id)
    await services.stores.apply(DescribeIntent(dataset_id=dataset_id, **meaning.model_dump()))
    return meaning


@router.post("/rename", summary="Rename an intent", responses=_WITH_BODY)
async def rename_intent(
    services: ServicesOf,
    dataset_id: InPath,
    renaming: Renaming,
    _: Annotated[Key, requires(Scope.ADMIN, Where.PATH)],
) -> Relabelled:
    """Give all examples with a label another one.

    What the model predicted stays, as do the statistics; until it is trained anew it goes on with
    the old name.
    """
    return await _relabel(services, dataset_id, [renaming.intent], renaming.to)


@router.post("/merge", summary="Merge intents", responses=_WITH_BODY)
async def merge_intents(
    services: ServicesOf,
    dataset_id: InPath,
    merger: Merger,
    _: Annotated[Key, requires(Scope.ADMIN, Where.PATH)],
) -> Relabelled:
    """Let several labels become one. Otherwise as `rename`."""
    return await _relabel(services, dataset_id, merger.intents, merger.to)


async def _relabel(
    services: ServicesOf, dataset_id: str, intents: list[str], to: str
) -> Relabelled:
    await existing(services, dataset_id)
    count = await services.stores.apply(Relabel(dataset_id=dataset_id, intents=intents, to=to))
    return Relabelled(examples=count)
