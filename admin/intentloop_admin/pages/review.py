"""The review queue: one card at a time, decided with a key."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Form, Query, Request
from pydantic import Field
from rapidfuzz import fuzz, process
from starlette.responses import Response

from intentloop_admin.pages.forms import Blank, Words
from intentloop_admin.pages.rendering import go_to, render, shown_sender
from intentloop_admin.problems import ProblemError
from intentloop_admin.routes.dependencies import ServicesOf
from intentloop_admin.security.access import Where, forbidden, requires
from intentloop_admin.security.keys import Key
from intentloop_admin.security.scopes import Scope
from intentloop_admin.services import Services
from intentloop_schemas.event import DEFAULT_DATASET, DatasetId, Intent
from intentloop_sink.catalogue import Catalogue
from intentloop_sink.catalogue.intents import Intent as IntentOfDataset
from intentloop_sink.review import (
    Card,
    Decide,
    Decisions,
    Queue,
    ReviewQueue,
    SkipCard,
    State,
    TakeCard,
    UndoDecision,
    Verdict,
    normalise,
)
from intentloop_sink.review.queue import MAX_LENGTH

DAILY_GOAL = 200
SIMILARITY = 80
"""Of rapidfuzz's ratio, from 0 to 100: "panir tikka" and "paneer tika" have 82."""
_COMPARED = 1_000
_SHOWN_SIMILAR = 8
_SHOWN_SENDERS = 5
_SKIP = "skip"

router = APIRouter(include_in_schema=False)

CardId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class Tab(StrEnum):
    """What a reviewer looks at."""

    FLAGGED = "flagged"
    AUDIT = "audit"
    ASIDE = "aside"

    @property
    def place(self) -> tuple[Queue, State]:
        """The queue, and the state of its cards."""
        return _PLACES[self]


_PLACES = {
    Tab.FLAGGED: (Queue.FLAGGED, State.OPEN),
    Tab.AUDIT: (Queue.AUDIT, State.OPEN),
    Tab.ASIDE: (Queue.FLAGGED, State.UNSURE),
}
_LABELS = {Tab.FLAGGED: "Flagged", Tab.AUDIT: "Audit", Tab.ASIDE: "Set aside"}


class Choice(Words):
    """Which queue of which dataset."""

    dataset_id: DatasetId = DEFAULT_DATASET
    queue: Tab = Tab.FLAGGED


class Decision(Choice):
    """What a reviewer sends."""

    card: CardId
    verdict: Annotated[str | None, Blank] = None
    intent: Annotated[Intent | None, Blank] = None
    choice: Annotated[Intent | None, Blank] = None
    """One of the model's other guesses: a correction with one key."""
    similar: list[CardId] = Field([], max_length=_SHOWN_SIMILAR)

    @property
    def meaning(self) -> tuple[Verdict, str | None] | None:
        """The verdict, and the intent of a correction; None when the intent is missing.

        Raises ProblemError when there is no such verdict.
        """
        if self.choice is not None:
            return Verdict.CORRECT, self.choice
        if self.verdict == Verdict.CORRECT:
            return (Verdict.CORRECT, self.intent) if self.intent is not None else None
        if self.verdict not in set(Verdict):
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY, "There is no such decision; use the buttons."
            )
        return Verdict(self.verdict), None


class Similar(NamedTuple):
    """A card whose text is nearly the same."""

    id: str
    text: str


class TabLink(NamedTuple):
    """A tab of the page."""

    name: Tab
    label: str
    length: int


@router.get("/review")
async def show_card(
    request: Request,
    services: ServicesOf,
    wanted: Annotated[Choice, Query()],
    key: Annotated[Key, requires(Scope.REVIEW, Where.QUERY)],
    notice: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Show the next card, and keep it from others for a while."""
    require_database(services)
    session = session_of(request, key)
    queue, state = wanted.queue.place
    card_id = await services.stores.apply(
        TakeCard(
            dataset_id=wanted.dataset_id,
            queue=queue,
            state=state,
            session=session,
            reviewer=key.id,
        )
    )
    intents = await services.recent.get(
        ("intents", wanted.dataset_id),
        lambda: services.stores.read(lambda c: c.intents.all(wanted.dataset_id)),
    )
    found = await services.stores.read(lambda c: _page(c, card_id, wanted, session, key, intents))
    return render(
        request,
        "review.html",
        notice=_NOTICES.get(notice or ""),
        goal=DAILY_GOAL,
        max_length=MAX_LENGTH,
        dataset_id=wanted.dataset_id,
        chosen=wanted.queue,
        intents=intents,
        **found,
    )


@router.post("/review/decide")
async def decide(
    request: Request,
    services: ServicesOf,
    decision: Annotated[Decision, Form()],
    key: Annotated[Key, requires(Scope.REVIEW, Where.ITEMS)],
) -> Response:
    """Carry a decision out and show the next card."""
    _require_dataset(key, decision.dataset_id)
    require_database(services)
    session = session_of(request, key)
    if decision.verdict == _SKIP:
        await services.stores.apply(
            SkipCard(card_id=decision.card, session=session, reviewer=key.id, until=_tomorrow())
        )
        return _next(decision)
    if decision.meaning is None:
        return _next(decision, notice="intent")
    verdict, intent = decision.meaning
    cards = await _of_dataset(services, [decision.card, *decision.similar], decision.dataset_id)
    decided = await services.stores.apply(
        Decide(
            card_ids=cards,
            verdict=verdict,
            intent=intent,
            session=session,
            reviewer=key.id,
            group=uuid.uuid4().hex,
        )
    )
    return _next(decision, notice="refused" if decided.refused else None)


@router.post("/review/undo")
async def undo(
    services: ServicesOf,
    wanted: Annotated[Choice, Form()],
    key: Annotated[Key, requires(Scope.REVIEW, Where.ITEMS)],
) -> Response:
    """Take the last decision of today back."""
    _require_dataset(key, wanted.dataset_id)
    require_database(services)
    undone = await services.stores.apply(UndoDecision(reviewer=key.id, since=_today()))
    return _next(wanted, notice=None if undone else "nothing")


_NOTICES = {
    "intent": "A correction needs an intent: type one, or take one of the model's guesses.",
    "refused": "Not decided: another reviewer has that card now, or has decided it.",
    "nothing": "There is nothing of today to undo.",
}


def require_database(services: Services) -> None:
    """Raise ProblemError in JSON mode."""
    if services.storage.mode != "postgres":
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "This page needs Postgres, and this API runs on JSON files. Set DATABASE_URL, run "
            "`intentloop migrate`, and start it again; `intentloop replay` brings the files along.",
        )


def session_of(request: Request, key: Key) -> str:
    """Return what names a browser to the queue; programs are named by their key."""
    session = request.scope["state"].get("session")
    return key.id if session is None else str(session.id)


def near_duplicates(text: str, others: dict[str, str]) -> list[Similar]:
    """Return the other texts that read almost the same, the most alike first."""
    found = process.extract(
        text,
        others,
        scorer=fuzz.ratio,
        processor=normalise,
        score_cutoff=SIMILARITY,
        limit=_SHOWN_SIMILAR,
    )
    return [Similar(card_id, other) for other, _, card_id in found]


def _page(
    catalogue: Catalogue,
    card_id: str | None,
    wanted: Choice,
    session: str,
    key: Key,
    intents: Sequence[IntentOfDataset],
) -> dict[str, Any]:
    queue = ReviewQueue(catalogue.connection)
    lengths = {tab: queue.length(wanted.dataset_id, *tab.place) for tab in Tab}
    tabs = [TabLink(tab, _LABELS[tab], length) for tab, length in lengths.items()]
    page = {
        "tabs": tabs,
        "waiting": lengths[wanted.queue],
        "done": Decisions(catalogue.connection).count(key.id, _today()),
        "view": None,
    }
    view = queue.view(card_id) if card_id else None
    if view is None:
        return page
    descriptions = {intent.name: intent.description for intent in intents}
    card, now = view.card, datetime.now(UTC)
    beside = queue.texts_beside(card, session, now, _COMPARED)
    return page | {
        "view": view,
        "description": descriptions.get(card.predicted_intent, ""),
        "others": _guesses(view.sample.alternatives or (), card),
        "similar": near_duplicates(card.text, beside),
        "senders": [shown_sender(sender, key) for sender in view.senders[:_SHOWN_SENDERS]],
        "more_senders": max(0, len(view.senders) - _SHOWN_SENDERS),
    }


def _guesses(alternatives: Sequence[dict[str, Any]], card: Card) -> list[dict[str, Any]]:
    others = [guess for guess in alternatives if guess["intent"] != card.predicted_intent]
    return others[:9]


async def _of_dataset(services: Services, cards: Sequence[str], dataset_id: str) -> list[str]:
    """Return the cards that are the dataset's: a key may be for no other."""
    known = await services.stores.read(
        lambda c: ReviewQueue(c.connection).of_dataset(dataset_id, cards)
    )
    if not known:
        raise ProblemError(
            HTTPStatus.NOT_FOUND, "There is no such card any more; go on with the next."
        )
    return known


def _require_dataset(key: Key, dataset_id: str) -> None:
    if not key.may_use(dataset_id):
        raise forbidden(f"This key is not for the dataset {dataset_id}.")


def _next(choice: Choice, notice: str | None = None) -> Response:
    return go_to("/review", datasetId=choice.dataset_id, queue=choice.queue.value, notice=notice)


def _today() -> datetime:
    return datetime.combine(datetime.now(UTC).date(), time(), UTC)


def _tomorrow() -> datetime:
    return _today() + timedelta(days=1)
