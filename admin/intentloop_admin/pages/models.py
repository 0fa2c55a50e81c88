"""Models over time: how often each was right, and how much of its traffic is flagged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Query, Request
from sqlalchemy import Connection
from starlette.responses import Response

from intentloop_admin.pages.charts import Plot, time_labels
from intentloop_admin.pages.forms import Blank, Range
from intentloop_admin.pages.rendering import render
from intentloop_admin.pages.review import require_database
from intentloop_admin.pages.spans import Span, Width
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
    first_hour,
    model_histories,
)

_LINES = ("line", "line one", "line two", "line three", "line four")
"""Styles of as many models, the one that began last first; older ones are in the table alone."""

router = APIRouter(prefix="/training/datasets/{dataset_id}/models", include_in_schema=False)


class Wanted(Range):
    """A range of time, and how fine it is drawn; as fine as looks well unless given."""

    columns: Annotated[Width | None, Blank] = None


class History(NamedTuple):
    """The models that answered, and when."""

    width: Width
    span: Span
    models: list[ModelHistory]


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
    wanted: Annotated[Wanted, Query()],
    _: Annotated[Key, requires(Scope.READ, Where.PATH)],
) -> Response:
    """Show the models that have answered."""
    require_database(services)
    await existing(services, dataset_id)
    window = timedelta(seconds=services.configuration.worker.window_seconds)
    now = datetime.now(UTC)
    width, span, models = await services.stores.read(
        lambda c: _history(c.connection, dataset_id, wanted, window, now)
    )
    judged = sum(model.total.judged.messages for model in models)
    return render(
        request,
        "models.html",
        dataset_id=dataset_id,
        wanted=wanted,
        width=width,
        widths=list(Width),
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


def _history(
    connection: Connection, dataset_id: str, wanted: Wanted, window: timedelta, now: datetime
) -> History:
    until = min(wanted.end, now)
    first = first_hour(connection, dataset_id, wanted.start, until) or wanted.start
    width = wanted.columns or Width.fit_for(until - first, window)
    span = Span.of(wanted, width, window, now)
    models = model_histories(connection, dataset_id, span.since, span.until, span.width)
    return History(width, span.beginning(min((m.first for m in models), default=first)), models)


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
