"""How sure the model is, and whether the promises are kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from intentloop_admin.problems import documented
from intentloop_admin.promises import Figure, summarise
from intentloop_admin.routes.dependencies import ServicesOf
from intentloop_admin.routes.words import Answer
from intentloop_admin.security.access import Where, requires
from intentloop_admin.security.keys import Key
from intentloop_admin.security.scopes import Scope
from intentloop_schemas.event import DEFAULT_DATASET, Channel, DatasetId, Intent, Label
from intentloop_sink.catalogue import StatisticsFilter
from intentloop_sink.catalogue.edit import Moment, Words
from intentloop_sink.catalogue.statistics import Confidence

router = APIRouter(prefix="/api/stats", tags=["Statistics"])

_USUAL = documented(401, 403, 422, 429, 503)
_Reader = Annotated[Key, requires(Scope.READ, Where.QUERY)]


class Sums(Answer):
    """How sure the model was of some messages; shares and confidences are from 0 to 1."""

    count: int
    mean_confidence: float
    deviation: float
    min_confidence: float
    max_confidence: float
    p10: float = Field(description="As exact as bins of 0.05 allow, like p50 and p90.")
    p50: float
    p90: float
    flagged: int
    flagged_share: float
    low_confidence_share: float
    fallback_share: float
    late: int
    histogram: list[int] = Field(description="Counts in 20 bins of width 0.05.")

    @classmethod
    def fields_of(cls, sums: Confidence) -> dict[str, object]:
        """Return the fields of some sums."""
        return {
            "count": sums.n,
            "mean_confidence": sums.mean,
            "deviation": sums.deviation,
            "min_confidence": sums.min_micros / 1e6,
            "max_confidence": sums.max_micros / 1e6,
            "p10": sums.quantile(0.1),
            "p50": sums.quantile(0.5),
            "p90": sums.quantile(0.9),
            "flagged": sums.flagged,
            "flagged_share": sums.share(sums.flagged),
            "low_confidence_share": sums.share(sums.low_confidence),
            "fallback_share": sums.share(sums.fallback),
            "late": sums.late,
            "histogram": sums.histogram,
        }


class IntentSums(Sums):
    """One intent, as the model saw it."""

    intent: str


class WindowSums(Sums):
    """All intents, or the one asked for, in one window."""

    start: datetime
    end: datetime
    intents: int = Field(description="How many different ones.")
    is_final: bool = Field(description="No more is expected for it.")


class StatisticsQuery(Words):
    """Which messages are counted."""

    dataset_id: DatasetId = DEFAULT_DATASET
    intent: Intent | None = None
    channel: Channel | None = None
    model_version: Label | None = None
    since: Moment | None = None
    until: Moment | None = None

    def wanted(self) -> StatisticsFilter:
        """Return the conditions."""
        return StatisticsFilter(
            intent=self.intent,
            channel=self.channel,
            model_version=self.model_version,
            since=self.since,
            until=self.until,
        )


class SummaryQuery(Words):
    """Whose figures."""

    dataset_id: DatasetId = DEFAULT_DATASET


class WindowQuery(StatisticsQuery):
    """Which windows."""

    granularity: Literal["window", "hour"] = "window"
    limit: int = Field(120, ge=1, le=5_000)


class Summary(Answer):
    """The figures that were promised, beside their targets."""

    dataset_id: str
    since: datetime
    figures: list[Figure]


@router.get("/intents", summary="Confidence by intent", responses=_USUAL)
async def intents(
    services: ServicesOf, query: Annotated[StatisticsQuery, Query()], _: _Reader
) -> list[IntentSums]:
    """Return each intent that the model predicted, the most frequent first, by whole hours."""
    found = await services.stores.read(
        lambda c: c.statistics.intents(query.dataset_id, query.wanted())
    )
    return [IntentSums(intent=i.intent, **Sums.fields_of(i.confidence)) for i in found]


@router.get("/windows", summary="Confidence by window", responses=_USUAL)
async def windows(
    services: ServicesOf, query: Annotated[WindowQuery, Query()], _: _Reader
) -> list[WindowSums]:
    """Return windows in which something happened, the newest first."""
    found = await services.stores.read(
        lambda c: c.statistics.windows(
            query.dataset_id,
            query.wanted(),
            limit=query.limit,
            hourly=query.granularity == "hour",
        )
    )
    return [
        WindowSums(
            start=w.start,
            end=w.end,
            intents=w.intents,
            is_final=w.is_final,
            **Sums.fields_of(w.confidence),
        )
        for w in found
    ]


@router.get("/summary", summary="The promises, and how they are kept", responses=_USUAL)
async def summary(
    services: ServicesOf, query: Annotated[SummaryQuery, Query()], _: _Reader
) -> Summary:
    """Return the figures of the last 24 hours beside their targets.

    Latency and success come from what loggers report; without reports they are `not reported`.
    """
    since = datetime.now(UTC) - timedelta(days=1)
    figures = await services.stores.read(lambda c: summarise(c, query.dataset_id, since))
    return Summary(dataset_id=query.dataset_id, since=since, figures=figures)
