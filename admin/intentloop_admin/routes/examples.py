"""Examples: pages of them, and what a review changes."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field, model_validator

from intentloop_admin.problems import BODY, ProblemError, documented
from intentloop_admin.routes.datasets import existing
from intentloop_admin.routes.dependencies import InPath, ServicesOf
from intentloop_admin.routes.words import Answer
from intentloop_admin.security.access import Where, forbidden, requires
from intentloop_admin.security.keys import Key
from intentloop_admin.security.scopes import Scope
from intentloop_admin.services import Services
from intentloop_sink import catalogue
from intentloop_sink.catalogue import (
    BulkChange,
    ChangeExample,
    Cursor,
    DeleteExamples,
    ExampleChange,
    ExampleFilter,
    Page,
)
from intentloop_sink.catalogue.edit import Words
from intentloop_sink.catalogue.examples import MAX_PAGE, SOURCE

router = APIRouter(prefix="/api/training/datasets/{dataset_id}", tags=["Examples"])

_USUAL = documented(401, 403, 404, 422, 429, 503)
_WITH_BODY = {**_USUAL, **documented(*BODY)}
_LINK = {"Link": {"description": "The next page.", "schema": {"type": "string"}}}


class Example(Answer):
    """A message, what the model took it for, and what it is labelled as now.

    Without the scope `pii` senders are masked, and ids that may hold one are left out.
    """

    id: str = Field(examples=["ex-1698345600-4f1d7cbb3a0e9c52"])
    dataset_id: str = Field(examples=["ds-auto-training"])
    type: str = Field(examples=["nlu"])
    input: str = Field(description="The message.", examples=["where is my order?"])
    intent: str = Field(description="The current label.", examples=["track_order"])
    tags: list[str] = Field(
        examples=[["confidence:95", "source:+91******3210", "timestamp:1698345600000"]]
    )
    created_at: datetime = Field(description="When the message was written.")
    event_id: str
    predicted_intent: str = Field(description="What the model took it for; this never changes.")
    confidence: float = Field(examples=[0.95])
    review_reasons: list[str] = Field(examples=[["low_confidence"]])
    sender: str = Field(examples=["+91******3210"])
    channel: str = Field(examples=["whatsapp"])
    language: str | None = Field(examples=["en"])
    model_version: str
    session_id: str | None
    message_id: str | None
    current_step: str | None = Field(examples=["main_menu"])
    alternatives: list[dict[str, Any]] | None

    @classmethod
    def seen_by(cls, key: Key, example: catalogue.Example) -> Example:
        """Return an example as a key may see it."""
        return cls.model_validate(example if key.may(Scope.PII) else example.masked())


class ExampleQuery(ExampleFilter):
    """Which examples, and which page of them."""

    limit: int = Field(100, ge=1, le=MAX_PAGE)
    cursor: str | None = Field(None, max_length=256, description="From a Link header.")


class Action(Words):
    """What to do with all examples that meet a filter."""

    filter: ExampleFilter
    action: Literal["change", "delete"]
    change: ExampleChange | None = None

    @model_validator(mode="after")
    def _says_what(self) -> Action:
        if (self.action == "change") != (self.change is not None):
            raise ValueError("give change with the action change, and only then")
        return self


class Changed(Answer):
    """How many examples were changed or deleted."""

    count: int
    more: bool = Field(description="Others are left: send the same again.")


@router.get(
    "/examples",
    summary="Read examples",
    response_model=list[Example],
    responses={200: {"headers": _LINK}, **_USUAL},
)
async def read_examples(
    request: Request,
    response: Response,
    services: ServicesOf,
    dataset_id: InPath,
    wanted: Annotated[ExampleQuery, Query()],
    key: Annotated[Key, requires(Scope.READ, Where.PATH)],
) -> list[Example]:
    """Return a page of examples, the newest first.

    Go on with the address in the `Link` header until there is none. A page of a filter that few
    examples meet may be short, or empty, before the end.
    """
    allow(wanted, key)
    before = _cursor(wanted.cursor)
    await existing(services, dataset_id)

    def page(c: catalogue.Catalogue) -> Page:
        return c.examples.page(dataset_id, wanted, limit=wanted.limit, before=before)

    found = await services.stores.read(page)
    if found.next:
        following = request.url.include_query_params(cursor=str(found.next))
        response.headers["Link"] = f'<{following}>; rel="next"'
    return [Example.seen_by(key, example) for example in found.examples]


@router.get("/examples/{example_id}", summary="Read an example", responses=_USUAL)
async def read_example(
    services: ServicesOf,
    dataset_id: InPath,
    example_id: str,
    key: Annotated[Key, requires(Scope.READ, Where.PATH)],
) -> Example:
    """Return one example."""
    found = await services.stores.read(lambda c: c.examples.one(dataset_id, example_id))
    if found is None:
        raise _missing(services, example_id, dataset_id)
    return Example.seen_by(key, found)


@router.patch("/examples/{example_id}", summary="Review an example", responses=_WITH_BODY)
async def change_example(
    services: ServicesOf,
    dataset_id: InPath,
    example_id: str,
    change: ExampleChange,
    key: Annotated[Key, requires(Scope.REVIEW, Where.PATH)],
) -> Example:
    """Correct the label, or say that it is right, or change tags.

    A review takes the tag `needs_review` away and adds `reviewed`. What the model predicted, its
    confidence and the statistics stay as they are.
    """
    edit = ChangeExample(dataset_id=dataset_id, id=example_id, change=change)
    changed = await services.stores.apply(edit)
    if changed is None:
        raise _missing(services, example_id, dataset_id)
    return Example.seen_by(key, changed)


@router.post("/bulk", summary="Review or delete many examples", responses=_WITH_BODY)
async def change_examples(
    services: ServicesOf,
    dataset_id: InPath,
    action: Action,
    key: Annotated[Key, requires(Scope.REVIEW, Where.PATH)],
) -> Changed:
    """Do the same with all examples that meet a filter, 10,000 at a time. Deleting needs `admin`.

    To be sure of what they are, read them first with the same filter.
    """
    allow(action.filter, key)
    await existing(services, dataset_id)
    if action.change is not None:
        change = BulkChange(dataset_id=dataset_id, filter=action.filter, change=action.change)
        return Changed.model_validate(await services.stores.apply(change))
    if not key.may(Scope.ADMIN):
        raise forbidden(f"This key lacks the scope {Scope.ADMIN}.")
    deletion = DeleteExamples(dataset_id=dataset_id, filter=action.filter)
    return Changed.model_validate(await services.stores.apply(deletion))


def allow(wanted: ExampleFilter, key: Key) -> None:
    """Raise ProblemError when a filter asks for more than a key may know."""
    if wanted.tag is not None and wanted.tag.startswith(SOURCE) and not key.may(Scope.PII):
        raise forbidden(f"Filtering by sender needs the scope {Scope.PII}, which this key lacks.")


def _cursor(text: str | None) -> Cursor | None:
    if text is None:
        return None
    try:
        return Cursor.parse(text)
    except ValueError:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "cursor: take it from the Link header of the page before; leave it out for the first.",
        ) from None


def _missing(services: Services, example_id: str, dataset_id: str) -> ProblemError:
    where = f"GET /api/training/datasets/{dataset_id}/examples lists those there are"
    return services.missing(f"example {example_id!r} in {dataset_id}", where)
