"""Reports of loggers: how long log() took, and what came of what it was given."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from intentloop_admin.problems import BODY, documented
from intentloop_admin.routes.dependencies import ServicesOf
from intentloop_admin.routes.words import Answer
from intentloop_admin.security.access import Where, requires
from intentloop_admin.security.keys import Key
from intentloop_admin.security.scopes import Scope
from intentloop_sink.catalogue import AddReports, LoggerReport
from intentloop_sink.catalogue.edit import Words

router = APIRouter(prefix="/api/loggers", tags=["Loggers"])


class Reports(Words):
    """Reports of one logger or of several."""

    reports: list[LoggerReport] = Field(min_length=1, max_length=1_000)


class Received(Answer):
    """How many were new; one that was there already stays as it is."""

    new: int


@router.post("/reports", summary="Report", responses=documented(*BODY, 401, 403, 422, 429, 503))
async def report(
    services: ServicesOf, body: Reports, _: Annotated[Key, requires(Scope.INGEST, Where.NONE)]
) -> Received:
    """Keep what loggers counted since their last reports."""
    return Received(new=await services.stores.apply(AddReports(reports=body.reports)))
