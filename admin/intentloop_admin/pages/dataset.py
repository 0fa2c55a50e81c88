"""A dataset: how it grows, its examples, and what can be done with many of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Query, Request
from pydantic import AwareDatetime, Field, field_validator, model_validator
from starlette.responses import Response

from intentloop_admin.pages.charts import Plot, ceiling, time_labels
from intentloop_admin.pages.forms import Blank, Words
from intentloop_admin.pages.rendering import go_to, render, shown_sender
from intentloop_admin.pages.training import SHOWN_JOBS
from intentloop_admin.problems import ProblemError
from intentloop_admin.routes.datasets import existing
from intentloop_admin.routes.dependencies import InPath, ServicesOf
from intentloop_admin.security.access import Where, forbidden, requires
from intentloop_admin.security.keys import Key
from intentloop_admin.security.scopes import Scope
from intentloop_schemas.event import Channel, Confidence, Intent, Label
from intentloop_sink.catalogue import (
    BulkChange,
    Catalogue,
    ChangeListed,
    Cursor,
    DeleteExamples,
    ExampleChange,
    ExampleFilter,
    StatisticsFilter,
)
from intentloop_sink.catalogue.filters import Phrase, Tag
from intentloop_sink.export import Format
from intentloop_sink.insights.messages import SCANNED, Messages, Order
from intentloop_sink.insights.outline import Counts, Outline, outline

PAGE = 50
_GROWTH_DAYS = 30
_SCANNED = 10_000
"""Examples that one page looks at for a filter; the next page goes on behind them."""
_DAY = timedelta(days=1)
_SOURCE = "source:"

router = APIRouter(prefix="/training/datasets", include_in_schema=False)

DayOrTime = Annotated[AwareDatetime | None, Blank]


class Wanted(Words):
    """Which examples, in what order; lives in the URL. A day alone is its midnight in UTC."""

    tag: Annotated[Tag | None, Blank] = None
    intent: Annotated[Intent | None, Blank] = None
    predicted_intent: Annotated[Intent | None, Blank] = None
    q: Annotated[Phrase | None, Blank] = None
    min_confidence: Annotated[Confidence | None, Blank] = None
    max_confidence: Annotated[Confidence | None, Blank] = None
    channel: Annotated[Channel | None, Blank] = None
    model_version: Annotated[Label | None, Blank] = None
    since: DayOrTime = None
    until: DayOrTime = None
    order: Order = Order.NEWEST

    @field_validator("since", "until", mode="before")
    @classmethod
    def _at_midnight(cls, value: Any) -> Any:
        is_day = isinstance(value, str) and len(value) == len("2026-01-31")
        return f"{value}T00:00:00Z" if is_day else value

    @property
    def filter(self) -> ExampleFilter:
        """The same as conditions on examples."""
        return ExampleFilter(**self.model_dump(include=set(ExampleFilter.model_fields)))

    def query(self) -> dict[str, Any]:
        """Return what of it goes into a URL."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)


class PageWanted(Wanted):
    """The same, and where the page begins."""

    cursor: Annotated[str | None, Field(max_length=256), Blank] = None
    offset: Annotated[int, Field(ge=0, le=SCANNED)] = 0


class Action(Wanted):
    """What is to be done with the examples that were ticked, or with all that are wanted."""

    what: Literal["accept", "label", "delete"]
    scope: Literal["ticked", "all"] = "ticked"
    ids: list[str] = Field([], max_length=PAGE)
    label: Annotated[Intent | None, Blank] = None

    @model_validator(mode="after")
    def _is_complete(self) -> Action:
        if self.what == "label" and self.label is None:
            raise ValueError("type the intent that these messages are to get")
        if self.scope == "ticked" and not self.ids:
            raise ValueError("tick some messages first, or choose all that are found")
        return self

    @property
    def change(self) -> ExampleChange:
        """The change of each example."""
        return ExampleChange(intent=self.label if self.what == "label" else None, reviewed=True)


@router.get("")
async def list_datasets(
    request: Request, services: ServicesOf, key: Annotated[Key, requires(Scope.READ, Where.ITEMS)]
) -> Response:
    """Show all datasets; the only one at once."""
    datasets = await services.stores.read(lambda c: c.datasets.all(key.datasets))
    if len(datasets) == 1:
        return go_to(f"/training/datasets/{datasets[0].id}")
    return render(request, "datasets.html", datasets=datasets)


@router.get("/{dataset_id}")
async def show_dataset(
    request: Request,
    services: ServicesOf,
    dataset_id: InPath,
    wanted: Annotated[PageWanted, Query()],
    key: Annotated[Key, requires(Scope.READ, Where.PATH)],
    done: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Show a dataset and a page of its examples."""
    _allow(wanted, key)
    dataset = await existing(services, dataset_id)
    now = datetime.now(UTC)
    growth = await services.recent.get(
        ("growth", dataset_id),
        lambda: services.stores.read(lambda c: _growth(c, dataset_id, now)),
    )
    found = await services.stores.read(lambda c: _examples(c, dataset_id, wanted))
    rows = [(example, shown_sender(example.sender, key)) for example in found.pop("examples")]
    return render(
        request,
        "dataset.html",
        dataset=dataset,
        dataset_id=dataset_id,
        wanted=wanted,
        rows=rows,
        done=done,
        orders=list(Order),
        scanned=SCANNED,
        jobs=await services.jobs.newest(dataset_id, SHOWN_JOBS),
        formats=list(Format),
        growth=_growth_chart(growth.periods) if growth.periods else None,
        growth_rows=[(f"{day:%Y-%m-%d}", counts.n) for day, counts in growth.periods.items()],
        choices=growth.choices,
        **found,
    )


@router.post("/{dataset_id}/examples")
async def change_examples(
    services: ServicesOf,
    dataset_id: InPath,
    action: Annotated[Action, Form()],
    key: Annotated[Key, requires(Scope.REVIEW, Where.PATH)],
) -> Response:
    """Do the same with many examples, and show the page again."""
    _allow(action, key)
    if action.what == "delete":
        done = await _delete(services, dataset_id, action, key)
    elif action.scope == "ticked":
        edit = ChangeListed(dataset_id=dataset_id, ids=action.ids, change=action.change)
        done = f"{await services.stores.apply(edit):,} reviewed."
    else:
        bulk = BulkChange(dataset_id=dataset_id, filter=action.filter, change=action.change)
        changed = await services.stores.apply(bulk)
        done = f"{changed.count:,} reviewed{', more are left: do it again' * changed.more}."
    query = Wanted.model_validate(action.model_dump(include=set(Wanted.model_fields))).query()
    return go_to(f"/training/datasets/{dataset_id}", **query, done=done)


async def _delete(services: Any, dataset_id: str, action: Action, key: Key) -> str:
    if not key.may(Scope.ADMIN):
        raise forbidden(f"Deleting needs the scope {Scope.ADMIN}, which this key lacks.")
    if action.scope != "all":
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "Only all messages that are found can be deleted: narrow the filter to those meant.",
        )
    deleted = await services.stores.apply(
        DeleteExamples(dataset_id=dataset_id, filter=action.filter)
    )
    return f"{deleted.count:,} deleted{', more are left: do it again' * deleted.more}."


def _growth(catalogue: Catalogue, dataset_id: str, now: datetime) -> Outline:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    since = midnight - (_GROWTH_DAYS - 1) * _DAY
    return outline(catalogue, dataset_id, StatisticsFilter(), since, now, _DAY)


def _growth_chart(days: Mapping[datetime, Counts]) -> Plot:
    counts = [day.n for day in days.values()]
    plot = Plot("Messages stored a day", max(1, len(counts)), ceiling(counts))
    plot.bars(counts, "bar", [f"{day:%d %b}: {c.n:,}" for day, c in days.items()])
    time_labels(plot, list(days), "%d %b")
    return plot


def _examples(catalogue: Catalogue, dataset_id: str, wanted: PageWanted) -> dict[str, Any]:
    if wanted.order is Order.NEWEST or catalogue.connection.dialect.name != "postgresql":
        before = _cursor(wanted.cursor)
        page = catalogue.examples.page(
            dataset_id, wanted.filter, limit=PAGE, before=before, max_scanned=_SCANNED
        )
        following = {"cursor": str(page.next)} if page.next else None
        return {"examples": page.examples, "following": following}
    messages = Messages(catalogue.connection, dataset_id)
    examples, more = messages.ranked(wanted.filter, wanted.order, limit=PAGE, offset=wanted.offset)
    beyond = {"offset": wanted.offset + PAGE} if more else None
    return {"examples": examples, "following": beyond}


def _cursor(text: str | None) -> Cursor | None:
    try:
        return Cursor.parse(text) if text else None
    except ValueError:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "This address is not whole: begin with the first page."
        ) from None


def _allow(wanted: Wanted, key: Key) -> None:
    if (wanted.tag or "").startswith(_SOURCE) and not key.may(Scope.PII):
        raise forbidden(f"Filtering by sender needs the scope {Scope.PII}, which this key lacks.")
