"""Whether it lives, whether it can accept, and what it counts."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import Field

from intentloop_admin.pipeline import extent, settle_accounts
from intentloop_admin.problems import ProblemError, documented
from intentloop_admin.routes.dependencies import ServicesOf
from intentloop_admin.routes.words import Answer
from intentloop_admin.security.access import Where, requires
from intentloop_admin.security.keys import Key
from intentloop_admin.security.scopes import Scope
from intentloop_admin.watch import watch
from intentloop_sink.queries import Line
from intentloop_stream.extent import LogExtent

ALIVE, READY = "/healthz", "/readyz"
OPEN_PATHS = frozenset({ALIVE, READY})
"""Nothing else is open without a key."""

router = APIRouter(tags=["Health"])


class Health(Answer):
    """How it is."""

    status: str = Field(examples=["ok"])


class Partition(Answer):
    """Where one source of records stands."""

    topic: str
    topic_id: str
    partition: int
    next_position: int = Field(description="Everything below is stored.")
    lag: int | None = Field(description="Records in Kafka that are not stored; null if unknown.")
    updated_at: datetime
    writer: str


class Records(Answer):
    """What became of all records."""

    stored: int
    duplicates: int
    rejected: int
    flagged: int
    batches: int


class Waiting(Answer):
    """What waits in files for the database."""

    conversations: int
    bytes: int
    max_bytes: int


class Reconciliation(Answer):
    """Whether everything is accounted for."""

    is_complete: bool
    gaps: int = Field(description="Places where something is missing or there twice.")
    lost: int = Field(description="Records that Kafka deleted before they were read.")


class PipelineHealth(Answer):
    """How the pipeline is."""

    status: Literal["ok", "degraded"]
    store: Literal["postgres", "files"] = Field(description="What answers now.")
    last_commit_at: datetime | None
    records: Records
    lag: int | None = Field(description="Over all partitions; null without Kafka.")
    dead_letters: int | None = Field(description="In Kafka; null without it.")
    spool: Waiting
    partitions: list[Partition]
    reconciliation: Reconciliation | None = Field(description="At most 30 s old.")


@router.get(
    "/api/health/pipeline",
    summary="How is the pipeline?",
    responses=documented(401, 403, 422, 429, 503),
)
async def pipeline(
    services: ServicesOf, _: Annotated[Key, requires(Scope.READ, Where.ALL)]
) -> PipelineHealth:
    """Return what waits, what was stored, and whether anything is missing."""
    kafka = services.configuration.kafka
    log = await extent(kafka, services.configuration.worker.topic)
    lines, last = await services.stores.read(
        lambda c: (c.pipeline.lines(), c.pipeline.last_commit())
    )
    accounts = services.accounts.get() or services.accounts.set(
        await services.stores.read(settle_accounts)
    )
    partitions = [_partition(line, log) for line in lines]
    lags = [partition.lag for partition in partitions if partition.lag is not None]
    proof = accounts.proof
    is_well = not services.stores.is_partial and services.waiting == 0
    return PipelineHealth(
        status="ok" if is_well and not (proof and proof.gaps) else "degraded",
        store="files" if services.stores.is_partial else services.storage.mode,
        last_commit_at=last,
        records=Records.model_validate(accounts.totals),
        lag=None if log is None else sum(lags) + _unread(lines, log),
        dead_letters=None if log is None else log.dead_letters,
        spool=Waiting(
            conversations=services.waiting,
            bytes=services.spool.size,
            max_bytes=services.configuration.spool.max_bytes,
        ),
        partitions=partitions,
        reconciliation=None
        if proof is None
        else Reconciliation(is_complete=not proof.gaps, gaps=proof.gaps, lost=proof.lost),
    )


def _partition(line: Line, log: LogExtent | None) -> Partition:
    lag = None
    if log is not None and line.topic_id == log.topic_id and line.partition in log.offsets:
        lag = max(0, log.offsets[line.partition][1] - line.next_position)
    return Partition(
        topic=line.topic,
        topic_id=line.topic_id,
        partition=line.partition,
        next_position=line.next_position,
        lag=lag,
        updated_at=line.updated_at,
        writer=line.writer,
    )


def _unread(lines: Iterable[Line], log: LogExtent) -> int:
    """Return how much waits in partitions that nobody has read yet."""
    known = {line.partition for line in lines if line.topic_id == log.topic_id}
    return sum(end - first for p, (first, end) in log.offsets.items() if p not in known)


@router.get(ALIVE, summary="Is the process alive?")
async def alive() -> Health:
    """Answer as long as the process does."""
    return Health(status="ok")


@router.get(READY, summary="Can it accept conversations?", responses=documented(503))
async def ready(services: ServicesOf) -> Health:
    """Answer 503 when neither the store nor the disk takes anything."""
    services.require_ready()
    return Health(status="ok")


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **documented(401, 403, 429, 503),
    },
)
async def metrics(
    services: ServicesOf, _: Annotated[Key, requires(Scope.READ, Where.ALL)]
) -> Response:
    """Return all metrics in Prometheus' text format; it may send its key as a bearer token."""
    services.metrics.spooled.set(services.waiting)
    with suppress(ProblemError):
        # While the store is away the figures stay as they were.
        now = datetime.now(UTC)
        question = partial(services.stores.read, lambda c: watch(c, now))
        services.metrics.watched(await services.recent.get("watch", question))
    return Response(services.metrics.text(), media_type=CONTENT_TYPE_LATEST)
