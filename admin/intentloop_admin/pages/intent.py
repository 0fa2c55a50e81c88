"""One intent: how often, how sure, whether that drifts, and what it is confused with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from intentloop_admin.pages.charts import Plot, ceiling, time_labels
from intentloop_admin.pages.rendering import render, shown_sender
from intentloop_admin.pages.spans import Drawn, Span, Width
from intentloop_admin.routes.datasets import existing
from intentloop_admin.routes.dependencies import InPath, ServicesOf
from intentloop_admin.security.access import Where, requires
from intentloop_admin.security.keys import Key
from intentloop_admin.security.scopes import Scope
from intentloop_schemas.event import Intent
from intentloop_schemas.statistics import HISTOGRAM_BINS
from intentloop_sink.catalogue import Catalogue, ExampleFilter
from intentloop_sink.catalogue.statistics import Confidence, Period
from intentloop_sink.insights.drift import MIN_COUNT, drift
from intentloop_sink.insights.messages import SCANNED, Messages
from intentloop_sink.review import Decisions

_SAMPLES = 12

router = APIRouter(prefix="/training/datasets/{dataset_id}/intents", include_in_schema=False)


@router.get("/{intent:path}")
async def show_intent(
    request: Request,
    services: ServicesOf,
    dataset_id: InPath,
    intent: Annotated[Intent, Path()],
    wanted: Annotated[Drawn, Query()],
    key: Annotated[Key, requires(Scope.READ, Where.PATH)],
) -> Response:
    """Show an intent."""
    await existing(services, dataset_id)
    window = timedelta(seconds=services.configuration.worker.window_seconds)
    span = Span.of(wanted, wanted.columns, window, datetime.now(UTC))
    found = await services.stores.read(lambda c: _page(c, dataset_id, intent, wanted, span))
    samples = [(example, shown_sender(example.sender, key)) for example in found.pop("samples")]
    return render(
        request,
        "intent.html",
        dataset_id=dataset_id,
        intent=intent,
        wanted=wanted,
        widths=list(Width),
        span=span,
        samples=samples,
        min_count=MIN_COUNT,
        scanned=SCANNED,
        **found,
    )


def _page(
    catalogue: Catalogue, dataset_id: str, intent: str, wanted: Drawn, span: Span
) -> dict[str, Any]:
    statistics = catalogue.statistics
    drawn = wanted.statistics(intent=intent, since=span.since, until=span.until)
    periods = statistics.series(dataset_id, drawn, span.width)
    total = _sum(catalogue, dataset_id, wanted, intent, wanted.start, wanted.end)
    length = min(wanted.end, span.until) - wanted.start
    reference = _sum(catalogue, dataset_id, wanted, intent, wanted.start - length, wanted.start)
    page: dict[str, Any] = {
        "choices": statistics.choices(dataset_id, wanted.start, wanted.end),
        "total": total,
        "reference": reference,
        "drift": drift(reference.histogram, total.histogram) if total and reference else None,
        "length": length,
        "counts": _counts(periods, span),
        "confidence": _confidence(periods, span),
        "rows": [(row[0], period.confidence.n, *row[1:])
                 for row, period in zip(_confidence_rows(periods), periods, strict=True)],
        "histogram": _histogram(total, reference) if total else None,
        "histogram_rows": _histogram_rows(total, reference) if total else [],
        "description": _description(catalogue, dataset_id, intent),
        "samples": catalogue.examples.page(
            dataset_id,
            ExampleFilter(predicted_intent=intent, until=wanted.end),
            limit=_SAMPLES,
            max_scanned=SCANNED,
        ).examples,
        "steps": [],
        "confusions": [],
    }  # fmt: skip
    if catalogue.connection.dialect.name == "postgresql":
        messages = Messages(catalogue.connection, dataset_id)
        page["steps"] = messages.by_step(intent, wanted.start, wanted.end)
        page["confusions"] = Decisions(catalogue.connection).confused(dataset_id, intent)
    return page


def _sum(
    catalogue: Catalogue,
    dataset_id: str,
    wanted: Drawn,
    intent: str,
    since: datetime,
    until: datetime,
) -> Confidence | None:
    conditions = wanted.statistics(intent=intent, since=since, until=until)
    found = catalogue.statistics.intents(dataset_id, conditions)
    return found[0].confidence if found else None


def _description(catalogue: Catalogue, dataset_id: str, intent: str) -> str:
    return catalogue.intents.description(dataset_id, intent)


def _columns(periods: Sequence[Period], span: Span) -> list[tuple[datetime, Period | None]]:
    return span.columns({period.start: period for period in periods})


def _counts(periods: Sequence[Period], span: Span) -> Plot:
    columns = _columns(periods, span)
    heights = [period.confidence.n if period else 0 for _, period in columns]
    plot = Plot("Messages over time", len(columns), ceiling(heights))
    hints = [f"{start:{span.form}}: {n:,}" for (start, _), n in zip(columns, heights, strict=True)]
    plot.bars(heights, "bar", hints)
    time_labels(plot, [start for start, _ in columns], span.form)
    return plot


def _confidence(periods: Sequence[Period], span: Span) -> Plot:
    columns = _columns(periods, span)
    plot = Plot("Confidence over time", len(columns), 1, percent=True)
    _draw_confidence(plot, [period for _, period in columns])
    time_labels(plot, [start for start, _ in columns], span.form)
    return plot


def _histogram(total: Confidence, reference: Confidence | None) -> Plot:
    now = [count / total.n for count in total.histogram]
    past = [count / reference.n for count in reference.histogram] if reference else []
    top = ceiling([*now, *past])
    plot = Plot(
        "Distribution of the confidence, now and in the reference",
        HISTOGRAM_BINS,
        top,
        percent=True,
    )
    hints = [f"{i * 5} to {i * 5 + 5} %: {share:.1%}" for i, share in enumerate(now)]
    plot.bars(now, "bar", hints)
    if past:
        plot.bars(past, "bar past", [f"reference: {share:.1%}" for share in past])
    for edge in range(0, HISTOGRAM_BINS + 1, 4):
        plot.label(edge, f"{edge * 5} %")
    return plot


def _histogram_rows(
    total: Confidence, reference: Confidence | None
) -> list[tuple[str, int, int | str]]:
    past: Sequence[int | str] = reference.histogram if reference else ["none"] * HISTOGRAM_BINS
    pairs = zip(total.histogram, past, strict=True)
    return [(f"{i * 5}-{i * 5 + 5} %", now, before) for i, (now, before) in enumerate(pairs)]


def _draw_confidence(plot: Plot, columns: Sequence[Period | None]) -> None:
    """Draw a mean for each column, and around it the middle 80 %."""
    drawn = [(i + 0.5, period.confidence) for i, period in enumerate(columns) if period]
    plot.band([(x, sums.quantile(0.1), sums.quantile(0.9)) for x, sums in drawn], "band")
    plot.line(((i + 0.5, p.confidence.mean if p else None) for i, p in enumerate(columns)), "line")


def _confidence_rows(periods: Sequence[Period]) -> list[tuple[str, str, str, str]]:
    """Return the numbers of the chart of confidence."""
    return [(f"{p.start:%Y-%m-%d %H:%M:%S}", *_confidences(p)) for p in periods]


def _confidences(period: Period) -> tuple[str, str, str]:
    sums = period.confidence
    return f"{sums.mean:.3f}", f"{sums.quantile(0.1):.3f}", f"{sums.quantile(0.9):.3f}"
