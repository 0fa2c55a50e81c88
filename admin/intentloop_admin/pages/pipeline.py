"""The pipeline: whether everything is accounted for, what waits, and what was rejected."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from confluent_kafka import KafkaException
from fastapi import APIRouter, Form, Query, Request
from starlette.responses import Response

from intentloop_admin.pages.forms import Words
from intentloop_admin.pages.rendering import go_to, render
from intentloop_admin.problems import ProblemError, try_later
from intentloop_admin.routes.dependencies import ServicesOf
from intentloop_admin.routes.health import PipelineHealth
from intentloop_admin.routes.health import pipeline as health_of
from intentloop_admin.security.access import Where, requires
from intentloop_admin.security.keys import Key
from intentloop_admin.security.scopes import Scope
from intentloop_admin.services import Services
from intentloop_schemas import DeadLetterReason
from intentloop_schemas.event import DEFAULT_DATASET, DatasetId
from intentloop_schemas.masking import masked_text
from intentloop_sink.catalogue import Catalogue, StatisticsFilter
from intentloop_sink.insights.batches import Batches
from intentloop_stream.letter_reader import Found, TopicMissingError, first_copies, read_letters
from intentloop_stream.letter_retry import retried_places, retry_letters
from intentloop_stream.quarantine import QUARANTINE, Quarantine

_WINDOWS = 20
_LETTERS = 50
_LETTER_DAYS = 7

router = APIRouter(prefix="/pipeline", include_in_schema=False)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of what was produced, and where it begins, in thousandths of the whole."""

    name: str
    label: str
    count: int
    begins: float
    width: float


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as a page shows it: without its content."""

    found: Found
    error: str
    is_retried: bool


@dataclass(frozen=True, slots=True)
class Letters:
    """The newest dead letters, and how many there are for which reason."""

    shown: list[Letter]
    counts: list[tuple[DeadLetterReason, int]]


class Wanted(Words):
    """Whose windows are shown."""

    dataset_id: DatasetId = DEFAULT_DATASET


@router.get("")
async def show_pipeline(
    request: Request,
    services: ServicesOf,
    wanted: Annotated[Wanted, Query()],
    _: Annotated[Key, requires(Scope.READ, Where.ALL)],
) -> Response:
    """Show batches and windows; what Kafka has to be asked for follows by itself."""
    window = timedelta(seconds=services.configuration.worker.window_seconds)
    found = await services.stores.read(lambda c: _page(c, wanted.dataset_id, window))
    return render(request, "pipeline.html", dataset_id=wanted.dataset_id, **found)


@router.get("/log")
async def show_log(
    request: Request, services: ServicesOf, key: Annotated[Key, requires(Scope.READ, Where.ALL)]
) -> Response:
    """Show what became of everything that was produced, as a part of a page."""
    health = await health_of(services, key)
    return render(request, "log.html", health=health, parts_of_all=parts_of(health))


@router.get("/dead-letters")
async def show_letters(
    request: Request,
    services: ServicesOf,
    key: Annotated[Key, requires(Scope.READ, Where.ALL)],
    done: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Show what was rejected in the last days."""
    letters = await _in_kafka(services, lambda: _letters(services))
    return render(request, "dead_letters.html", letters=letters, days=_LETTER_DAYS, done=done,
                  may_retry=key.may(Scope.ADMIN))  # fmt: skip


@router.post("/dead-letters/retry")
async def retry(
    services: ServicesOf,
    _: Annotated[Key, requires(Scope.ADMIN, Where.ALL)],
    reason: Annotated[DeadLetterReason | None, Form()] = None,
) -> Response:
    """Send dead letters to their topic again, each once."""
    kafka, topic = services.configuration.kafka, services.configuration.worker.topic
    quarantine = Quarantine(services.configuration.spool.folder / QUARANTINE)

    def send() -> Any:
        found = first_copies(read_letters(kafka, topic, since=_since()))
        chosen = (f.letter for f in found if reason in (None, f.letter.reason))
        return retry_letters(kafka, topic, chosen, quarantine)

    report = await _in_kafka(services, send)
    done = f"{report.sent.total():,} sent again"
    done += f", {report.retried_before:,} were sent before" * bool(report.retried_before)
    done += f", {len(report.failed):,} could not be sent" * bool(report.failed)
    return go_to("/pipeline/dead-letters", done=f"{done}.")


def parts_of(health: PipelineHealth) -> list[Part]:
    """Return what became of everything that was produced."""
    records = health.records
    lost = health.reconciliation.lost if health.reconciliation else 0
    counts = {
        "stored": ("stored", records.stored),
        "duplicates": ("sent twice, stored once", records.duplicates),
        "waiting": ("waiting", (health.lag or 0) + health.spool.conversations),
        "rejected": ("rejected", records.rejected),
        "lost": ("lost: deleted before they were read", lost),
    }
    total = sum(count for _, count in counts.values()) or 1
    parts, begins = [], 0.0
    for name, (label, count) in counts.items():
        width = 1000 * count / total
        parts.append(Part(name, label, count, begins, width))
        begins += width
    return parts


def _page(catalogue: Catalogue, dataset_id: str, window: timedelta) -> dict[str, Any]:
    if catalogue.connection.dialect.name != "postgresql":
        return {"recent": None, "windows": [], "last_commit": None}
    batches = Batches(catalogue.connection)
    recent = batches.recent()
    newest = batches.newest_window(dataset_id)
    windows = []
    if newest is not None:
        since = newest - (_WINDOWS - 1) * window
        wanted = StatisticsFilter(since=since)
        windows = catalogue.statistics.windows(dataset_id, wanted, limit=_WINDOWS)
    last = recent.commits[0].committed_at if recent.commits else None
    return {"recent": recent, "windows": windows, "last_commit": last}


def _letters(services: Services) -> Letters:
    kafka, topic = services.configuration.kafka, services.configuration.worker.topic
    found = list(first_copies(read_letters(kafka, topic, since=_since())))
    retried = retried_places(kafka, topic)
    counts = Counter(one.letter.reason for one in found)
    newest = sorted(found, key=lambda one: one.written_at, reverse=True)[:_LETTERS]
    shown = [
        Letter(one, masked_text(one.letter.error, [_sender(one)]), one.letter.place in retried)
        for one in newest
    ]
    return Letters(shown, counts.most_common())


def _sender(found: Found) -> str:
    return (found.letter.key or b"").decode(errors="replace")


def _since() -> int:
    return round((datetime.now(UTC) - timedelta(days=_LETTER_DAYS)).timestamp() * 1000)


async def _in_kafka(services: Services, ask: Callable[[], T]) -> T:
    if services.configuration.kafka.bootstrap_servers is None:
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "Dead letters are in Kafka, and this API knows of none: set KAFKA_BOOTSTRAP_SERVERS "
            "and start it again.",
        )
    try:
        return await asyncio.to_thread(ask)
    except TopicMissingError as error:
        raise ProblemError(HTTPStatus.NOT_FOUND, f"{error}.") from error
    except KafkaException as error:
        raise try_later(f"Kafka does not answer: {error.args[0].str()}.") from error
