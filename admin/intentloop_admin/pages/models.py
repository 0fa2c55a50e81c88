"""Models over time: how often each was right, and how much of its traffic is flagged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from intentloop_admin.pages.charts import Plot, time_labels
from intentloop_admin.pages.rendering import render
from intentloop_admin.pages.review import require_database
from intentloop_admin.pages.spans import Drawn, Span, Width
from intentloop_admin.routes.datasets import existing
from intentloop_admin.routes.dependencies import InPath, ServicesOf
from intentloop_admin.security.access import Where, requires
from intentloop_admin.security.keys import Key
from intentloop_admin.security.scopes import Scope
from intentloop_sink.insights.accuracy import (
    COPIES,
    DECISIONS,
    Figures,
    ModelHistory,
    model_histories,
)

_LINES = ("line", "line one", "line two", "line three", "line four")
"""Styles of as many models, the one that began last first; older ones are in the table alone."""

router = APIRouter(prefix="/training/datasets/{dataset_id}/models", include_in_schema=False)


class Row(NamedTuple):
    """One model in one column of the charts, written out."""

    start: str
    version: str
    messages: int
    flagged: str
    accuracy: str
    judged: int
    simulated: int


@router.get("")
async def show_models(
    request: Request,
    services: ServicesOf,
    dataset_id: InPath,
    wanted: Annotated[Drawn, Query()],
    _: Annotated[Key, requires(Scope.READ, Where.PATH)],
) -> Response:
    """Show the models that have answered."""
    require_database(services)
    await existing(services, dataset_id)
    window = timedelta(seconds=services.configuration.worker.window_seconds)
    span = Span.of(wanted, window, datetime.now(UTC))
    models = await services.stores.read(
        lambda c: model_histories(c.connection, dataset_id, span.since, span.until, span.width)
    )
    judged = sum(model.total.judged.messages for model in models)
    return render(
        request,
        "models.html",
        dataset_id=dataset_id,
        wanted=wanted,
        widths=list(Width),
        span=span,
        models=models,
        styles=_LINES,
        judged=judged,
        simulated=sum(model.total.judged.simulated for model in models),
        accuracy=_chart("Accuracy over time, by model", models, span, _accuracy),
        flagged=_chart(
            "Flagged share over time, by model", models, span, lambda f: f.flagged_share
        ),
        rows=_rows(models),
        decisions=DECISIONS,
        copies=COPIES,
    )


def _accuracy(figures: Figures) -> float | None:
    return figures.accuracy.share if figures.accuracy else None


def _chart(
    title: str,
    models: Sequence[ModelHistory],
    span: Span,
    share: Callable[[Figures], float | None],
) -> Plot:
    starts = span.starts
    plot = Plot(title, len(starts), 1, percent=True)
    for model, style in zip(models, _LINES, strict=False):
        columns = span.columns(model.periods)
        shares = [share(figures) if figures else None for _, figures in columns]
        plot.line(((column + 0.5, one) for column, one in enumerate(shares)), style)
    time_labels(plot, starts, span.form)
    return plot


def _rows(models: Sequence[ModelHistory]) -> list[Row]:
    return sorted(
        _row(start, model.version, figures)
        for model in models
        for start, figures in model.periods.items()
    )


def _row(start: datetime, version: str, figures: Figures) -> Row:
    return Row(
        f"{start:%Y-%m-%d %H:%M:%S}",
        version or "not said",
        figures.n,
        _written(figures.flagged_share),
        _written(_accuracy(figures)),
        figures.judged.messages,
        figures.judged.simulated,
    )


def _written(share: float | None) -> str:
    return "not known" if share is None else f"{share:.3f}"
