"""Erasures: a person's words, everywhere that the API reaches."""

from __future__ import annotations

import asyncio
from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from intentloop_admin.erasure import stored_forms
from intentloop_admin.problems import documented, try_later
from intentloop_admin.routes.dependencies import ServicesOf
from intentloop_admin.routes.words import Answer
from intentloop_admin.security.access import Where, forbidden, requires
from intentloop_admin.security.keys import Key
from intentloop_admin.security.scopes import Scope
from intentloop_schemas.event import Sender
from intentloop_sink import DatabaseUnavailableError
from intentloop_sink.catalogue.edit import Words

router = APIRouter(prefix="/api/erasures", tags=["Privacy"])


class Erasure(Words):
    """Whom to erase. They stand in the body, because addresses end up in logs."""

    senders: list[Sender] = Field(
        min_length=1,
        max_length=100,
        examples=[["+919876543210"]],
        description="As they are stored.",
    )
    dry_run: bool = Field(default=False, strict=True, description="Only look, and tell.")


class Place(Answer):
    """Somewhere that their words may be."""

    name: str = Field(examples=["database"])
    found: int
    erased: int
    note: str = Field(description="What it was, or why something is left.")
    failed: bool = Field(description="Mend what the note says, and send the same again.")


class Erased(Answer):
    """What was found and erased, place by place."""

    is_complete: bool = Field(description="Whether every place could be dealt with.")
    erased_at: datetime | None = Field(
        description="What they wrote until then is not taken any more; null after a dry run."
    )
    places: list[Place]
    remains: list[str] = Field(
        description="Where copies may be that only time or somebody else removes."
    )


@router.post("", summary="Erase senders", responses=documented(401, 403, 422, 429, 503))
async def erase_senders(
    services: ServicesOf, erasure: Erasure, key: Annotated[Key, requires(Scope.ADMIN, Where.ALL)]
) -> Erased:
    """Erase all that senders wrote, so that no replay and no retry brings it back.

    Needs the scope `pii` as well. Sending it again is safe. Statistics stay.
    """
    if not key.may(Scope.PII):
        raise forbidden(f"Erasing needs the scope {Scope.PII}, too, which this key lacks.")
    senders = stored_forms(erasure.senders, services.configuration.pii)
    call = partial(services.storage.erase, senders, dry_run=erasure.dry_run)
    try:
        report = await asyncio.to_thread(call)
    except (DatabaseUnavailableError, OSError) as error:
        raise try_later(f"Not everything was erased: {error}. Send the same again.") from error
    return Erased.model_validate(report)
