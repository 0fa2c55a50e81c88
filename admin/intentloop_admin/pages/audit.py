"""The audit: how often the model is right where nobody would look."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from intentloop_admin.pages.charts import Plot
from intentloop_admin.pages.forms import Words
from intentloop_admin.pages.rendering import render
from intentloop_admin.pages.review import require_database
from intentloop_admin.routes.dependencies import ServicesOf
from intentloop_admin.security.access import Where, requires
from intentloop_admin.security.keys import Key
from intentloop_admin.security.scopes import Scope
from intentloop_schemas.event import DEFAULT_DATASET, DatasetId
from intentloop_sink.insights.precision import (
    MIN_JUDGED,
    TARGET_PRECISION,
    calibration,
    precision_by_intent,
    suggested_threshold,
    wilson_interval,
)
from intentloop_sink.review import Audited, Audits, Queue, ReviewQueue, State

DAYS = 90

router = APIRouter(include_in_schema=False)


class Wanted(Words):
    """Which dataset."""

    dataset_id: DatasetId = DEFAULT_DATASET


@router.get("/audit")
async def show_audit(
    request: Request,
    services: ServicesOf,
    wanted: Annotated[Wanted, Query()],
    _: Annotated[Key, requires(Scope.READ, Where.QUERY)],
) -> Response:
    """Show what the audit has found."""
    require_database(services)
    since = datetime.now(UTC) - timedelta(days=DAYS)
    audited, waiting = await services.stores.read(
        lambda c: (
            Audits(c.connection).since(wanted.dataset_id, since),
            ReviewQueue(c.connection).length(wanted.dataset_id, Queue.AUDIT, State.OPEN),
        )
    )
    right = sum(one.is_right for one in audited)
    bins = calibration(audited)
    return render(
        request,
        "audit.html",
        dataset_id=wanted.dataset_id,
        judged=len(audited),
        right=right,
        simulated=sum(one.is_simulated for one in audited),
        interval=wilson_interval(right, len(audited)) if audited else None,
        by_intent=precision_by_intent(audited),
        curve=_curve(audited),
        bins=[(f"{b.mean_confidence:.1%}", f"{b.share:.1%}", b.right, b.judged) for b in bins],
        suggestion=suggested_threshold(audited),
        threshold=services.configuration.worker.confidence_threshold,
        target=TARGET_PRECISION,
        min_judged=MIN_JUDGED,
        days=DAYS,
        waiting=waiting,
    )


def _curve(audited: list[Audited]) -> Plot:
    """Draw how often the model is right against how sure it is."""
    plot = Plot("How often the model is right, by how sure it is", 1, 1, percent=True)
    plot.line([(0, 0), (1, 1)], "line ideal")
    bins = calibration(audited)
    for b in bins:
        plot.interval(b.mean_confidence, *b.interval, "interval")
        hint = f"{b.mean_confidence:.0%} sure: {b.right} of {b.judged} right"
        plot.point(b.mean_confidence, b.share, "dot", hint)
    for edge in range(0, 11, 2):
        plot.label(edge / 10, f"{edge * 10} %")
    return plot
