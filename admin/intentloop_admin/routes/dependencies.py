"""What routes are given."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Path, Request

from intentloop_admin.services import Services
from intentloop_schemas.event import DatasetId


async def _services(request: Request) -> Services:
    # Not a plain function: those are called in another thread, which takes longer than the call.
    return cast("Services", request.app.state.services)


ServicesOf = Annotated[Services, Depends(_services)]
InPath = Annotated[DatasetId, Path(examples=["ds-auto-training"])]
