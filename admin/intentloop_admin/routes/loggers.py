"""Reports of loggers: how long log() took, and what came of what it was given."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter

from intentloop_admin.problems import BODY, documented
from intentloop_admin.routes.dependencies import ServicesOf
from intentloop_admin.routes.words import Answer
from intentloop_admin.security.access import Where, requires
from intentloop_admin.security.keys import Key
from intentloop_admin.security.scopes import Scope
from intentloop_schemas import LoggerReport
from intentloop_sink.catalogue import AddReport

router = APIRouter(prefix="/api/loggers", tags=["Loggers"])


class Received(Answer):
    """Whether the report is new; one that was there already stays as it is."""

    success: bool = True
    is_new: bool


@router.post(
    "/reports",
    status_code=HTTPStatus.ACCEPTED,
    summary="Report on a logger",
    responses=documented(*BODY, 401, 403, 422, 429, 503),
)
async def report(
    services: ServicesOf,
    body: LoggerReport,
    _: Annotated[Key, requires(Scope.INGEST, Where.NONE)],
) -> Received:
    """Keep what a logger has counted since its start. Loggers send this by themselves."""
    return Received(is_new=await services.stores.apply(AddReport(report=body)))
