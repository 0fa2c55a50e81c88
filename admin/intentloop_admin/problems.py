"""Errors as problem details (RFC 9457): what is wrong, and what to do about it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 2
"""What a client is told to wait when something is away."""


_ADVICE = {
    HTTPStatus.BAD_REQUEST: "The body cannot be read; send JSON in UTF-8.",
    HTTPStatus.NOT_FOUND: "There is nothing at this address; /docs lists what there is.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address takes other methods; /docs lists them.",
}
"""What to do about the router's own refusals."""


class Problem(BaseModel):
    """What went wrong."""

    model_config = ConfigDict(extra="allow")

    type: str = Field("about:blank", description="Names the kind of problem.")
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(
        description="What happened here, and what to do.",
        examples=["There is no dataset ds-shop; GET /api/training/datasets lists them."],
    )


class ProblemError(HTTPException):
    """Ends a request with a problem; `more` are further members of its body."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(status, detail, headers)
        self.more = more


def not_found(what: str, where: str) -> ProblemError:
    """Return the problem that something is not there; `where` says how to find what is."""
    return ProblemError(HTTPStatus.NOT_FOUND, f"There is no {what}; {where}.")


def try_later(detail: str, seconds: int = RETRY_SECONDS) -> ProblemError:
    """Return the problem that something is away for now."""
    headers = {"Retry-After": str(seconds)}
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=headers)


def response(error: HTTPException) -> Response:
    """Return the answer to a request that failed."""
    more = error.more if isinstance(error, ProblemError) else {}
    problem = Problem(
        title=HTTPStatus(error.status_code).phrase,
        status=error.status_code,
        detail=error.detail,
        **more,
    )
    return JSONResponse(
        problem.model_dump(), error.status_code, headers=error.headers, media_type=MEDIA_TYPE
    )


def advised(error: HTTPException) -> HTTPException:
    """Return what a route, or the router itself, raised, with what to do about it."""
    if not isinstance(error, ProblemError) and error.status_code in _ADVICE:
        error.detail = _ADVICE[HTTPStatus(error.status_code)]
    return error


def of_invalid_request(error: RequestValidationError) -> ProblemError:
    """Return the problem that parameters or body are not as documented."""
    errors = [
        {"where": ".".join(map(str, detail["loc"])), "error": _message(detail)}
        for detail in error.errors()
    ]
    detail = "; ".join(f"{e['where']}: {e['error']}" for e in errors)
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=errors)


def _message(detail: Any) -> str:
    """Return what pydantic says, without the value that was sent."""
    return str(detail["msg"]).removeprefix("Value error, ")


BODY = (400, 408, 413, 415)
"""Problems of requests that have a body."""


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problems that a route may answer with, for its documentation."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }
