"""The first page: how much comes, how sure the model is, what is new."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from intentloop_admin.pages.charts import Plot, ceiling, time_labels
from intentloop_admin.pages.forms import Range
from intentloop_admin.pages.rendering import render, shown_sender
from intentloop_admin.problems import not_found
from intentloop_admin.promises import summarise
from intentloop_admin.routes.dependencies import ServicesOf
from intentloop_admin.security.access import Where, requires
from intentloop_admin.security.keys import Key
from intentloop_admin.security.scopes import Scope
from intentloop_admin.services import Services
from intentloop_sink.catalogue import Catalogue, Dataset, ExampleFilter
from intentloop_sink.catalogue.statistics import Choices
from intentloop_sink.insights.messages import Messages
from intentloop_sink.insights.outline import Counts, Outline, outline
from intentloop_sink.insights.phrases import RisingPhrase, rising_phrases

_TOP_INTENTS = 15
_TOP_CHANGES = 6
_MIN_CHANGE = 5
"""Messages that an intent must have gained or lost to be news."""
_TAIL = 12
_DAY = timedelta(days=1)

Column = tuple[datetime, Counts | None]

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Change:
    """An intent today against yesterday."""

    intent: str
    today: int
    yesterday: int

    @property
    def difference(self) -> int:
        """How many more messages."""
        return self.today - self.yesterday


@dataclass(frozen=True, slots=True)
class Rising:
    """Phrases of the last 24 hours, and of how many messages they were looked for in."""

    phrases: list[RisingPhrase]
    looked_at: int
    population: int


@dataclass(frozen=True, slots=True)
class Overview:
    """All that the page shows at once."""

    datasets: list[Dataset]
    outline: Outline


@router.get("/")
async def overview(
    request: Request,
    services: ServicesOf,
    wanted: Annotated[Range, Query()],
    key: Annotated[Key, requires(Scope.READ, Where.QUERY)],
) -> Response:
    """Show the first page."""
    now = datetime.now(UTC)
    page = await services.stores.read(lambda c: _overview(c, wanted, key))
    rising, changes, figures = await _remembered(services, wanted, now)
    columns = _columns(page.outline, wanted)
    return render(
        request,
        "overview.html",
        wanted=wanted,
        page=page,
        total=page.outline.total,
        rising=rising,
        changes=changes,
        figures=figures,
        top=list(page.outline.intents.items())[:_TOP_INTENTS],
        volume=_volume_chart(columns, wanted),
        confidence=_confidence_chart(columns, wanted),
        rows=[
            (f"{start:%Y-%m-%d %H:%M}", c.n, c.flagged, f"{c.mean:.3f}", f"{c.flagged_share:.3f}")
            for start, c in page.outline.periods.items()
        ],
        tail_query={
            "datasetId": wanted.dataset_id,
            "channel": wanted.channel,
            "modelVersion": wanted.model_version,
        },
    )


async def _remembered(services: Services, wanted: Range, now: datetime) -> tuple[Any, Any, Any]:
    """Return rising phrases, changes and figures, which change slowly."""
    read, end = services.stores.read, min(now, wanted.end)
    dataset = wanted.dataset_id
    return await asyncio.gather(
        services.recent.get(
            ("rising", dataset, wanted.until),
            lambda: read(lambda c: _rising(c, wanted, end)),
        ),
        services.recent.get(
            ("changes", dataset, wanted.until, wanted.channel, wanted.model_version),
            lambda: read(lambda c: _changes(c, wanted, end)),
        ),
        services.recent.get(
            ("figures", dataset),
            lambda: read(lambda c: summarise(c, dataset, now - _DAY)),
        ),
    )


@router.get("/tail")
async def tail(
    request: Request,
    services: ServicesOf,
    wanted: Annotated[Range, Query()],
    key: Annotated[Key, requires(Scope.READ, Where.QUERY)],
) -> Response:
    """Show the newest messages, as a part of a page."""
    chosen = ExampleFilter(channel=wanted.channel, model_version=wanted.model_version)
    page = await services.stores.read(
        lambda c: c.examples.page(wanted.dataset_id, chosen, limit=_TAIL)
    )
    rows = [(example, shown_sender(example.sender, key)) for example in page.examples]
    return render(request, "tail.html", rows=rows, dataset_id=wanted.dataset_id)


def _volume_chart(columns: Sequence[Column], wanted: Range) -> Plot:
    counts = [counts or Counts(0, 0, 0) for _, counts in columns]
    top = ceiling(c.n for c in counts)
    plot = Plot("Messages over time, and how many of them are flagged", len(columns), top)
    form = time_form(wanted.width)
    hints = [
        f"{start:{form}}: {c.n:,} messages, {c.flagged:,} flagged"
        for (start, _), c in zip(columns, counts, strict=True)
    ]
    plot.bars([c.n for c in counts], "bar", hints)
    plot.bars([c.flagged for c in counts], "bar flagged", hints)
    time_labels(plot, [start for start, _ in columns], form)
    return plot


def _confidence_chart(columns: Sequence[Column], wanted: Range) -> Plot:
    plot = Plot("Mean confidence and flagged share over time", len(columns), 1, percent=True)
    plot.line(((i + 0.5, c.mean if c else None) for i, (_, c) in enumerate(columns)), "line")
    shares = ((i + 0.5, c.flagged_share if c else None) for i, (_, c) in enumerate(columns))
    plot.line(shares, "line flagged")
    time_labels(plot, [start for start, _ in columns], time_form(wanted.width))
    return plot


def time_form(width: timedelta) -> str:
    """Return how times below a chart are written."""
    return "%d %b" if width >= _DAY else "%d %b %H:%M"


def _columns(found: Outline, wanted: Range) -> list[Column]:
    """Return every stretch of the range up to now, those in which nothing happened too."""
    end = min(wanted.end, datetime.now(UTC))
    count = max(1, -((wanted.start - end) // wanted.width))
    starts = [wanted.start + i * wanted.width for i in range(count)]
    return [(start, found.periods.get(start)) for start in starts]


def _overview(catalogue: Catalogue, wanted: Range, key: Key) -> Overview:
    if not (datasets := catalogue.datasets.all(key.datasets)):
        return Overview([], Outline({}, {}, Choices([], [])))
    if wanted.dataset_id not in {dataset.id for dataset in datasets}:
        raise not_found(f"dataset {wanted.dataset_id}", "choose one of those on the first page")
    found = outline(
        catalogue,
        wanted.dataset_id,
        wanted.statistics(),
        wanted.start,
        wanted.end,
        wanted.width,
    )
    return Overview(datasets, found)


def _changes(catalogue: Catalogue, wanted: Range, now: datetime) -> list[Change]:
    today = _intents(catalogue, wanted, now - _DAY, now)
    yesterday = _intents(catalogue, wanted, now - 2 * _DAY, now - _DAY)
    changes = [Change(i, today.get(i, 0), yesterday.get(i, 0)) for i in today.keys() | yesterday]
    news = [change for change in changes if abs(change.difference) >= _MIN_CHANGE]
    return sorted(news, key=lambda c: (-abs(c.difference), c.intent))[:_TOP_CHANGES]


def _intents(
    catalogue: Catalogue, wanted: Range, since: datetime, until: datetime
) -> dict[str, int]:
    found = outline(catalogue, wanted.dataset_id, wanted.statistics(), since, until, until - since)
    return {intent: counts.n for intent, counts in found.intents.items()}


def _rising(catalogue: Catalogue, wanted: Range, end: datetime) -> Rising | None:
    """Compare the messages of the last 24 hours with those of the 24 before; None from files."""
    if catalogue.connection.dialect.name != "postgresql":
        return None
    messages = Messages(catalogue.connection, wanted.dataset_id)
    current = messages.texts(end - _DAY, end)
    reference = messages.texts(end - 2 * _DAY, end - _DAY)
    phrases = rising_phrases(current.texts, reference.texts)
    return Rising(phrases, len(current.texts), current.population)
