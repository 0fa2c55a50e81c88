"""Decisions on cards, on a real Postgres: by who holds the card, for all copies, until undone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from intentloop_sink.catalogue import ChangeExample, ExampleChange
from intentloop_sink.catalogue.examples import REVIEWED
from intentloop_sink.review import (
    REJECTED,
    SIMULATED,
    SIMULATION,
    Decisions,
    SkipCard,
    State,
    Verdict,
)
from support import tables
from support.desk import DATASET, Desk, unsure

NOW = datetime.now(UTC)


def test_a_decision_holds_for_all_copies_and_for_later_ones(desk: Desk) -> None:
    desk.receive(unsure(0, "cancel it"), unsure(1, "Cancel it!"), unsure(2, "something else"))
    card = desk.take()
    assert card is not None
    before = statistics(desk)

    decided = desk.decide(card, Verdict.CORRECT, intent="cancel_order")
    assert statistics(desk) == before
    desk.receive(unsure(3, "cancel it."))

    assert (decided.cards, decided.copies) == ([card.id], 2)
    assert desk.examples() == [
        ("cancel it", "cancel_order", "track_order", ["reviewed"]),
        ("Cancel it!", "cancel_order", "track_order", ["reviewed"]),
        ("something else", "track_order", "track_order", ["needs_review"]),
        ("cancel it.", "cancel_order", "track_order", ["reviewed"]),
    ]
    later = desk.take()
    assert later is not None
    assert later.text == "something else"


def statistics(desk: Desk) -> list[Any]:
    sql = "SELECT * FROM intent_window_stats ORDER BY window_start, intent"
    return tables.query(desk.url, sql)


@pytest.mark.parametrize(
    ("verdict", "intent", "tags"),
    [
        (Verdict.ACCEPT, "track_order", ["reviewed"]),
        (Verdict.REJECT, "track_order", ["reviewed", "rejected"]),
        (Verdict.OUT_OF_SCOPE, "out_of_scope", ["reviewed"]),
        (Verdict.UNSURE, "track_order", ["needs_review"]),
    ],
)
def test_what_each_verdict_makes_of_an_example(
    desk: Desk, verdict: Verdict, intent: str, tags: list[str]
) -> None:
    desk.receive(unsure(0, "hm"))
    card = desk.take()
    assert card is not None

    desk.decide(card, verdict)

    assert desk.examples() == [("hm", intent, "track_order", tags)]
    assert desk.take() is None


def test_who_is_unsure_leaves_the_card_to_others(desk: Desk) -> None:
    desk.receive(unsure(0, "hm"))
    card = desk.take()
    assert card is not None
    desk.decide(card, Verdict.UNSURE)

    aside = desk.take("expert", state=State.UNSURE)
    assert aside is not None
    desk.decide(aside, Verdict.CORRECT, "expert", intent="smalltalk")

    assert desk.examples() == [("hm", "smalltalk", "track_order", ["reviewed"])]


def test_undo_gives_back_what_was_there(desk: Desk) -> None:
    desk.receive(unsure(0, "cancel it"), unsure(1, "cancel it"))
    before = desk.examples()
    card = desk.take()
    assert card is not None
    desk.decide(card, Verdict.CORRECT, intent="cancel_order")

    assert desk.undo() == [card.id]

    assert desk.examples() == before
    again = desk.take()
    assert again is not None
    assert again.id == card.id
    assert desk.undo() == []


def test_what_a_simulation_decides_is_marked_until_it_is_taken_back(desk: Desk) -> None:
    desk.receive(unsure(0, "blabla"))
    card = desk.take(SIMULATION)
    assert card
    desk.decide(card, Verdict.REJECT, SIMULATION)
    assert [row[3] for row in desk.examples()] == [[REVIEWED, REJECTED, SIMULATED]]

    desk.undo(SIMULATION)
    assert [row[3] for row in desk.examples()] == [["needs_review"]]


def test_undo_leaves_alone_what_somebody_changed_since(desk: Desk) -> None:
    desk.receive(unsure(0, "cancel it"), unsure(1, "cancel it"))
    card = desk.take()
    assert card is not None
    desk.decide(card, Verdict.CORRECT, intent="cancel_order")
    ((example_id,),) = tables.query(desk.url, 'SELECT min(id) FROM "Example"')
    change = ExampleChange(intent="refund_status")
    desk.catalogue.apply(ChangeExample(dataset_id=DATASET, id=example_id, change=change))

    desk.undo()

    assert sorted(row[1] for row in desk.examples()) == ["refund_status", "track_order"]


def test_a_card_with_many_copies_is_settled_step_by_step(desk: Desk) -> None:
    desk.receive(*(unsure(i, "yes") for i in range(2_500)))
    card = desk.take()
    assert card is not None
    desk.decide(card, Verdict.ACCEPT)
    assert reviewed(desk) == 1_000

    desk.tend()

    assert reviewed(desk) == 2_500
    desk.undo()
    assert reviewed(desk) == 0


def reviewed(desk: Desk) -> int:
    sql = """SELECT count(*) FROM "Example" WHERE tags @> ARRAY['reviewed']"""
    return int(tables.query(desk.url, sql)[0][0])


def test_who_decided_what_and_when_is_kept(desk: Desk) -> None:
    desk.receive(unsure(0, "one"))
    card = desk.take("ana")
    assert card is not None
    desk.decide(card, Verdict.CORRECT, "ana", intent="cancel")
    with desk.catalogue.reading() as catalogue:
        decisions = Decisions(catalogue.connection)
        assert decisions.count("ana", NOW - timedelta(minutes=1)) == 1
        (past,) = decisions.of_example(card.sample_id)
        (pair,) = decisions.confused(DATASET, "cancel")
    assert (past.reviewer, past.verdict, past.intent) == ("ana", "correct", "cancel")
    assert pair == ("track_order", "cancel", 1, 1)


def test_two_browsers_never_hold_the_same_card(desk: Desk) -> None:
    desk.receive(*(unsure(i, f"text {i}") for i in range(60)))

    def review(session: str) -> list[str]:
        seen = []
        while card := desk.take(session):
            seen.append(card.id)
            assert desk.decide(card, Verdict.ACCEPT, session).refused == []
        return seen

    with ThreadPoolExecutor(4) as pool:
        seen = [i for ids in pool.map(review, ["a", "b", "c", "d"]) for i in ids]
    assert len(seen) == len(set(seen)) == 60


def test_a_card_that_another_browser_holds_cannot_be_decided(desk: Desk) -> None:
    desk.receive(unsure(0, "one"))
    card = desk.take("a")
    assert card is not None
    assert desk.take("b") is None

    assert desk.decide(card, Verdict.ACCEPT, "b").refused == [card.id]
    assert desk.decide(card, Verdict.ACCEPT, "a").cards == [card.id]
    assert desk.decide(card, Verdict.REJECT, "a").refused == [card.id]


def test_a_lease_ends(desk: Desk) -> None:
    desk.receive(unsure(0, "one"))
    card = desk.take("a")
    assert card is not None
    tables.query(desk.url, "UPDATE review_card SET leased_until = now() - interval '1 second'")

    other = desk.take("b")

    assert other is not None
    assert other.id == card.id
    assert desk.decide(card, Verdict.ACCEPT, "a").refused == [card.id]


def test_a_skipped_card_comes_back_for_others_at_once(desk: Desk) -> None:
    desk.receive(unsure(0, "one"))
    card = desk.take("a")
    assert card is not None
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    desk.catalogue.apply(SkipCard(card_id=card.id, session="a", reviewer="a", until=tomorrow))

    assert desk.take("a") is None
    assert desk.take("b") is not None
