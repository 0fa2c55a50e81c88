"""The first page: how much comes, how sure the model is, what is new."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from intentloop_admin.pages.charts import Plot, ceiling, time_labels
from intentloop_admin.pages.forms import Range
from intentloop_admin.pages.rendering import render, shown_sender
from intentloop_admin.problems import not_found
from intentloop_admin.promises import Figure, summarise
from intentloop_admin.routes.dependencies import ServicesOf
from intentloop_admin.security.access import Where, requires
from intentloop_admin.security.keys import Key
from intentloop_admin.security.scopes import Scope
from intentloop_sink.catalogue import Catalogue, Dataset, ExampleFilter, StatisticsFilter
from intentloop_sink.catalogue.statistics import Choices, IntentStatistics, Period
from intentloop_sink.insights.messages import Messages
from intentloop_sink.insights.phrases import RisingPhrase, rising_phrases

_TOP_INTENTS = 15
_TOP_CHANGES = 6
_MIN_CHANGE = 5
"""Messages that an intent must have gained or lost to be news."""
_TAIL = 12
_DAY = timedelta(days=1)

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
    """All that the page shows."""

    datasets: list[Dataset]
    choices: Choices
    periods: list[Period]
    intents: list[IntentStatistics]
    figures: list[Figure]
    changes: list[Change]

    @property
    def count(self) -> int:
        """Messages in the range."""
        return sum(period.confidence.n for period in self.periods)

    @property
    def flagged_share(self) -> float | None:
        """Share of them that the review rule flagged."""
        flagged = sum(period.confidence.flagged for period in self.periods)
        return flagged / self.count if self.count else None

    @property
    def mean_confidence(self) -> float | None:
        """Their mean confidence."""
        total = sum(period.confidence.sum_micros for period in self.periods)
        return total / (1e6 * self.count) if self.count else None


@router.get("/")
async def overview(
    request: Request,
    services: ServicesOf,
    wanted: Annotated[Range, Query()],
    key: Annotated[Key, requires(Scope.READ, Where.QUERY)],
) -> Response:
    """Show the first page."""
    now = datetime.now(UTC)
    page, rising = await asyncio.gather(
        services.stores.read(lambda c: _overview(c, wanted, key, now)),
        services.stores.read(lambda c: _rising(c, wanted, now)),
    )
    return render(
        request,
        "overview.html",
        wanted=wanted,
        page=page,
        rising=rising,
        top=page.intents[:_TOP_INTENTS],
        volume=volume_chart(page.periods, wanted),
        volume_rows=[(f"{p.start:%Y-%m-%d %H:%M}", p.confidence.n, p.confidence.flagged)
                     for p in page.periods],
        confidence=confidence_chart(page.periods, wanted),
        confidence_rows=confidence_rows(page.periods),
        tail_query={"datasetId": wanted.dataset_id, "channel": wanted.channel,
                    "modelVersion": wanted.model_version},
    )  # fmt: skip


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


def volume_chart(periods: Sequence[Period], wanted: Range) -> Plot:
    """Draw messages over time, and those of them that are flagged."""
    counts = _columns(periods, wanted)
    top = ceiling(p.confidence.n if p else 0 for _, p in counts)
    plot = Plot("Messages over time, and how many of them are flagged", len(counts), top)
    hints = [_volume_hint(start, period, wanted) for start, period in counts]
    plot.bars([p.confidence.n if p else 0 for _, p in counts], "bar", hints)
    plot.bars([p.confidence.flagged if p else 0 for _, p in counts], "bar flagged", hints)
    time_labels(plot, [start for start, _ in counts], time_form(wanted.width))
    return plot


def confidence_chart(periods: Sequence[Period], wanted: Range) -> Plot:
    """Draw the mean confidence over time between its tenth and ninetieth percentile."""
    columns = _columns(periods, wanted)
    plot = Plot(
        "Mean confidence over time, with the middle 80 % of it", len(columns), 1, percent=True
    )
    draw_confidence(plot, [period for _, period in columns])
    time_labels(plot, [start for start, _ in columns], time_form(wanted.width))
    return plot


def draw_confidence(plot: Plot, columns: Sequence[Period | None]) -> None:
    """Draw a mean for each column, and around it the middle 80 %."""
    drawn = [(i + 0.5, period.confidence) for i, period in enumerate(columns) if period]
    plot.band([(x, sums.quantile(0.1), sums.quantile(0.9)) for x, sums in drawn], "band")
    plot.line(((i + 0.5, p.confidence.mean if p else None) for i, p in enumerate(columns)), "line")


def confidence_rows(periods: Sequence[Period]) -> list[tuple[str, str, str, str]]:
    """Return the numbers of the chart of confidence."""
    return [(f"{p.start:%Y-%m-%d %H:%M:%S}", *_confidences(p)) for p in periods]


def _confidences(period: Period) -> tuple[str, str, str]:
    sums = period.confidence
    return f"{sums.mean:.3f}", f"{sums.quantile(0.1):.3f}", f"{sums.quantile(0.9):.3f}"


def time_form(width: timedelta) -> str:
    """Return how times below a chart are written."""
    return "%d %b" if width >= _DAY else "%d %b %H:%M"


def _columns(periods: Sequence[Period], wanted: Range) -> list[tuple[datetime, Period | None]]:
    """Return every stretch of the range up to now, those in which nothing happened too."""
    known = {period.start: period for period in periods}
    end = min(wanted.end, datetime.now(UTC))
    count = max(1, -((wanted.start - end) // wanted.width))
    starts = [wanted.start + i * wanted.width for i in range(count)]
    return [(start, known.get(start)) for start in starts]


def _volume_hint(start: datetime, period: Period | None, wanted: Range) -> str:
    when = start.strftime(time_form(wanted.width))
    if period is None:
        return f"{when}: none"
    return f"{when}: {period.confidence.n:,} messages, {period.confidence.flagged:,} flagged"


def _overview(catalogue: Catalogue, wanted: Range, key: Key, now: datetime) -> Overview:
    if not (datasets := catalogue.datasets.all(key.datasets)):
        return Overview([], Choices([], []), [], [], [], [])
    if wanted.dataset_id not in {dataset.id for dataset in datasets}:
        raise not_found(f"dataset {wanted.dataset_id}", "choose one of those on the first page")
    statistics, dataset = catalogue.statistics, wanted.dataset_id
    return Overview(
        datasets,
        statistics.choices(dataset, wanted.start, wanted.end),
        statistics.series(dataset, wanted.statistics(), wanted.width),
        statistics.intents(dataset, wanted.statistics()),
        summarise(catalogue, dataset, now - _DAY),
        _changes(catalogue, wanted, min(now, wanted.end)),
    )


def _changes(catalogue: Catalogue, wanted: Range, now: datetime) -> list[Change]:
    today = _counts(catalogue, wanted.dataset_id, wanted.statistics(since=now - _DAY, until=now))
    before = wanted.statistics(since=now - 2 * _DAY, until=now - _DAY)
    yesterday = _counts(catalogue, wanted.dataset_id, before)
    changes = [Change(i, today.get(i, 0), yesterday.get(i, 0)) for i in today.keys() | yesterday]
    news = [change for change in changes if abs(change.difference) >= _MIN_CHANGE]
    return sorted(news, key=lambda c: (-abs(c.difference), c.intent))[:_TOP_CHANGES]


def _counts(catalogue: Catalogue, dataset_id: str, wanted: StatisticsFilter) -> dict[str, int]:
    return {i.intent: i.confidence.n for i in catalogue.statistics.intents(dataset_id, wanted)}


def _rising(catalogue: Catalogue, wanted: Range, now: datetime) -> Rising | None:
    """Compare the messages of the last 24 hours with those of the 24 before; None from files."""
    if catalogue.connection.dialect.name != "postgresql":
        return None
    messages = Messages(catalogue.connection, wanted.dataset_id)
    end = min(now, wanted.end)
    current = messages.texts(end - _DAY, end)
    reference = messages.texts(end - 2 * _DAY, end - _DAY)
    phrases = rising_phrases(current.texts, reference.texts)
    return Rising(phrases, len(current.texts), current.population)
