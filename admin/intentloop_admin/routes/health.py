"""Whether it lives, whether it can accept, and what it counts."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import Field

from intentloop_admin.problems import documented
from intentloop_admin.routes.dependencies import ServicesOf
from intentloop_admin.routes.words import Answer
from intentloop_admin.security.access import Where, requires
from intentloop_admin.security.keys import Key
from intentloop_admin.security.scopes import Scope

ALIVE, READY = "/healthz", "/readyz"
OPEN_PATHS = frozenset({ALIVE, READY})
"""Nothing else is open without a key."""

router = APIRouter(tags=["Health"])


class Health(Answer):
    """How it is."""

    status: str = Field(examples=["ok"])


@router.get(ALIVE, summary="Is the process alive?")
async def alive() -> Health:
    """Answer as long as the process does."""
    return Health(status="ok")


@router.get(READY, summary="Can it accept conversations?", responses=documented(503))
async def ready(services: ServicesOf) -> Health:
    """Answer 503 when neither the store nor the disk takes anything."""
    services.require_ready()
    return Health(status="ok")


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **documented(401, 403, 429, 503),
    },
)
async def metrics(
    services: ServicesOf, _: Annotated[Key, requires(Scope.READ, Where.ALL)]
) -> Response:
    """Return all metrics in Prometheus' text format; it may send its key as a bearer token."""
    services.metrics.spooled.set(services.spool.events)
    return Response(services.metrics.text(), media_type=CONTENT_TYPE_LATEST)
