"""Bulk ingestion: what a chatbot logged, over HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field
from starlette.responses import JSONResponse

from intentloop_admin.ingest import (
    MAX_ITEMS,
    MalformedBodyError,
    NotTakenError,
    Post,
    split_conversations,
)
from intentloop_admin.problems import BODY, ProblemError, documented, try_later
from intentloop_admin.routes.dependencies import ServicesOf
from intentloop_admin.routes.words import Answer
from intentloop_admin.security.access import Where, forbidden, requires
from intentloop_admin.security.keys import Key
from intentloop_admin.security.scopes import Scope
from intentloop_admin.services import Services, now_ms
from intentloop_schemas import Entry, Event
from intentloop_schemas.event import DEFAULT_DATASET
from intentloop_stream.processing import LocalRecord, Rejection

router = APIRouter(tags=["Conversations"])

_EXAMPLE = {
    "conversations": [
        {
            "phoneNumber": "+919876543210",
            "messageText": "where is my order?",
            "intent": "track_order",
            "confidence": 0.95,
            "currentStep": "main_menu",
            "timestamp": 1698345600000,
        }
    ]
}


class ItemError(Answer):
    """What is wrong with one conversation."""

    index: int = Field(description="Its place in the request, from 0.")
    error: str = Field(examples=["confidence: send a number, not a string"])


class Accepted(Answer):
    """All conversations are safe."""

    success: bool = True
    count: int = Field(description="How many were accepted, repeated ones too.", examples=[1])
    flagged_for_review: int = Field(examples=[0])
    dataset_id: str = Field(
        description="Dataset of the first one accepted.", examples=[DEFAULT_DATASET]
    )


class PartlyAccepted(Accepted):
    """Some conversations are safe, the others are not accepted."""

    success: bool = False
    errors: list[ItemError]


class Bulk(Answer):
    """Conversations, each on its own: one that is invalid costs no other."""

    conversations: Annotated[list[Event], Field(min_length=1, max_length=MAX_ITEMS)]


@router.post(
    "/api/training/conversations/bulk",
    summary="Log conversations",
    response_model=Accepted,
    responses={
        HTTPStatus.MULTI_STATUS: {"model": PartlyAccepted, "description": "Some are invalid"},
        **documented(*BODY, 401, 403, 422, 429, 503),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/Bulk"},
                    "example": _EXAMPLE,
                }
            },
        }
    },
)
async def log_conversations(
    request: Request, services: ServicesOf, key: Annotated[Key, requires(Scope.INGEST, Where.ITEMS)]
) -> Response:
    """Store 1 to 1,000 conversations.

    Sending them again gives the same answer and stores nothing twice: a conversation is known by
    its datasetId, eventId and timestamp. The body may be packed with gzip.
    """
    items, now = _items(await request.body()), now_ms()
    records = [LocalRecord(item, now) for item in items]
    decoded = services.decoder.decode(records, None)
    entries, errors = _sorted(decoded, key)
    post = Post(list(entries.values()))
    try:
        await services.intake.put(post)
    except NotTakenError as error:
        raise try_later(f"Nothing was stored: {error}; send it again.") from error
    if post.errors:
        errors |= {i: post.errors[id(e)] for i, e in entries.items() if id(e) in post.errors}
    flagged = sum(1 for entry in post.entries if entry.reasons)
    _count(services, post, errors, flagged)
    if not post.entries:
        raise _none_accepted(decoded, entries, errors)
    return _answer(post, errors, flagged)


def _items(body: bytes) -> list[bytes]:
    try:
        items = split_conversations(body)
    except MalformedBodyError as error:
        status = HTTPStatus.UNPROCESSABLE_ENTITY if error.is_json else HTTPStatus.BAD_REQUEST
        raise _refused(str(error), {}, status) from error
    if not items:
        raise _refused("conversations: the list is empty; send 1 to 1,000", {})
    return items


def _sorted(
    decoded: Iterable[Entry | Rejection], key: Key
) -> tuple[dict[int, Entry], dict[int, str]]:
    """Return what is to be stored and what is wrong with the rest, by their places."""
    entries: dict[int, Entry] = {}
    errors: dict[int, str] = {}
    for index, item in enumerate(decoded):
        if isinstance(item, Rejection):
            errors[index] = item.error
        elif key.may_use(item.event.dataset_id):
            entries[index] = item
        else:
            errors[index] = f"datasetId: this key is not for {item.event.dataset_id}"
    return entries, errors


def _count(services: Services, post: Post, errors: Sized, flagged: int) -> None:
    services.metrics.accepted.inc(len(post.entries))
    services.metrics.refused.inc(len(errors))
    services.metrics.flagged.inc(flagged)


def _answer(post: Post, errors: dict[int, str], flagged: int) -> Response:
    dataset_id = post.entries[0].event.dataset_id
    accepted = Accepted(
        success=not errors,
        count=len(post.entries),
        flagged_for_review=flagged,
        dataset_id=dataset_id,
    ).model_dump()
    if not errors:
        return JSONResponse(accepted)
    listed = [error.model_dump() for error in _listed(errors)]
    return JSONResponse({**accepted, "errors": listed}, HTTPStatus.MULTI_STATUS)


def _none_accepted(
    decoded: list[Entry | Rejection], entries: Sized, errors: dict[int, str]
) -> ProblemError:
    if not entries and not any(isinstance(item, Rejection) for item in decoded):
        return forbidden("This key is for none of the datasets of these conversations.")
    return _refused("None of the conversations is valid; errors says why.", errors)


def _refused(
    detail: str, errors: dict[int, str], status: HTTPStatus = HTTPStatus.UNPROCESSABLE_ENTITY
) -> ProblemError:
    """Return the problem in the words of the other answers, too."""
    more: dict[str, Any] = {"success": False, "count": 0, "flaggedForReview": 0, "datasetId": None}
    listed = [error.model_dump() for error in _listed(errors)]
    return ProblemError(status, detail, **more, errors=listed)


def _listed(errors: dict[int, str]) -> list[ItemError]:
    return [ItemError(index=index, error=error) for index, error in sorted(errors.items())]
