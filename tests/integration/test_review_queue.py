"""The review queue on a real Postgres: what is flagged becomes cards, what is decided stays so."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from intentloop_schemas import Entry
from intentloop_sink import PostgresSink, Stored, migrate
from intentloop_sink.catalogue import (
    ChangeExample,
    DeleteDataset,
    DeleteExamples,
    ExampleChange,
    PostgresCatalogue,
)
from intentloop_sink.catalogue.examples import REVIEWED
from intentloop_sink.catalogue.filters import ExampleFilter
from intentloop_sink.privacy import erase_examples
from intentloop_sink.review import (
    REJECTED,
    SIMULATED,
    SIMULATION,
    Card,
    Decide,
    Decisions,
    DrawAudit,
    DrawShare,
    Queue,
    ReviewQueue,
    SkipCard,
    State,
    TakeCard,
    TendQueue,
    UndoDecision,
    Verdict,
)
from support import tables
from support.batches import NOON, batch, entry, partition

DATASET = "ds-auto-training"
NOW = datetime.now(UTC)


class Desk:
    """A queue, and reviewers at it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.catalogue = PostgresCatalogue(url)
        self.sink = PostgresSink(url, window_seconds=30, writer="test")
        self.position = 0

    def receive(self, *entries: Entry) -> None:
        """Store entries and make cards of them."""
        outcome = self.sink.store(self.sink.prepare([batch(list(entries), self.position)]))
        assert isinstance(outcome, Stored), outcome
        self.position = entries[-1].record.offset + 1
        self.tend()

    def tend(self) -> int:
        examples = 0
        while True:
            tended = self.catalogue.apply(TendQueue())
            examples += tended.examples
            if not tended.more:
                return examples

    def take(self, session: str = "browser", **wanted: Any) -> Card | None:
        given = {"dataset_id": DATASET, "queue": Queue.FLAGGED, "reviewer": session, **wanted}
        card_id = self.catalogue.apply(TakeCard(session=session, **given))
        return None if card_id is None else self.card(card_id)

    def card(self, card_id: str) -> Card:
        with self.catalogue.reading() as catalogue:
            view = ReviewQueue(catalogue.connection).view(card_id)
        assert view is not None
        return view.card

    def decide(self, card: Card, verdict: Verdict, session: str = "browser", **fields: Any) -> Any:
        group = fields.pop("group", uuid.uuid4().hex)
        return self.catalogue.apply(
            Decide(card_ids=[card.id], verdict=verdict, session=session, reviewer=session,
                   group=group, **fields)
        )  # fmt: skip

    def undo(self, session: str = "browser") -> list[str]:
        since = datetime.now(UTC) - timedelta(hours=1)
        return self.catalogue.apply(UndoDecision(reviewer=session, since=since))

    def examples(self) -> list[tuple[Any, ...]]:
        return tables.query(
            self.url,
            'SELECT input, intent, "predictedIntent", tags[4:] FROM "Example" ORDER BY "createdAt"',
        )


@pytest.fixture
def desk(database_url: str) -> Iterator[Desk]:
    desk = Desk(database_url)
    yield desk
    desk.catalogue.close()
    desk.sink.close()


def unsure(offset: int, text: str, confidence: float = 0.4, **fields: Any) -> Entry:
    return entry(offset, message_text=text, confidence=confidence, **fields)


def test_the_same_text_at_the_same_step_is_one_card(desk: Desk) -> None:
    desk.receive(
        unsure(0, "Yes!", current_step="confirm"),
        unsure(1, "yes", current_step="confirm"),
        unsure(2, "YES", current_step="main_menu"),
        unsure(3, "yes"),
        entry(4, message_text="yes", confidence=0.99),
    )
    cards = tables.query(desk.url, "SELECT step, copies FROM review_card ORDER BY step")
    assert cards == [("", 1), ("confirm", 2), ("main_menu", 1)]


def test_what_is_frequent_and_uncertain_comes_first(desk: Desk) -> None:
    desk.receive(
        unsure(0, "rare and quite sure", 0.69),
        unsure(1, "frequent", 0.5),
        unsure(2, "frequent", 0.5),
        unsure(3, "frequent", 0.5),
        unsure(4, "rare and unsure", 0.1),
        entry(5, message_text="fallback", intent="nlu_fallback", confidence=1.0),
    )
    seen = []
    while card := desk.take():
        seen.append(card.text)
        desk.decide(card, Verdict.ACCEPT)
    assert seen == ["frequent", "fallback", "rare and unsure", "rare and quite sure"]


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


def test_what_was_reviewed_elsewhere_is_asked_no_more(desk: Desk) -> None:
    desk.receive(unsure(0, "one"))
    ((example_id,),) = tables.query(desk.url, 'SELECT id FROM "Example"')
    change = ExampleChange(reviewed=True)
    desk.catalogue.apply(ChangeExample(dataset_id=DATASET, id=example_id, change=change))

    assert desk.take() is None
    desk.receive(unsure(1, "one"))
    again = desk.take()
    assert again is not None
    assert again.sample_id != example_id


def test_a_transaction_that_commits_late_hides_nothing(desk: Desk) -> None:
    """An older one commits after newer ones were taken up."""
    reached, go_on = threading.Event(), threading.Event()

    def hold(name: str) -> None:
        if name == "store.before_commit":
            reached.set()
            go_on.wait(30)

    slow = PostgresSink(desk.url, window_seconds=30, writer="slow", failpoint=hold)
    late = batch([unsure(0, "late")], partition=partition(1))
    with ThreadPoolExecutor(1) as pool:
        storing = pool.submit(slow.store, slow.prepare([late]))
        assert reached.wait(10)
        desk.receive(unsure(5, "on time", timestamp=NOON + 10_000))
        assert texts(desk) == ["on time"]
        go_on.set()
        assert isinstance(storing.result(10), Stored)
    slow.close()

    desk.tend()

    assert texts(desk) == ["late", "on time"]


def texts(desk: Desk) -> list[str]:
    return [text for (text,) in tables.query(desk.url, "SELECT text FROM review_card ORDER BY 1")]


def test_every_flagged_example_counts_once_while_many_write_and_tend(desk: Desk) -> None:
    stop = threading.Event()

    def write(number: int) -> None:
        sink = PostgresSink(desk.url, window_seconds=30, writer=f"w{number}")
        for first in range(0, 200, 10):
            entries = [
                unsure(i, f"text {i % 7}", event_id=f"{number}-{i}", timestamp=NOON - i * 60_000)
                for i in range(first, first + 10)
            ]
            outcome = sink.store(sink.prepare([batch(entries, partition=partition(number))]))
            assert isinstance(outcome, Stored), outcome
        sink.close()

    def tend() -> None:
        while not stop.is_set():
            desk.catalogue.apply(TendQueue())

    with ThreadPoolExecutor(6) as pool:
        tending = [pool.submit(tend) for _ in range(2)]
        for writing in [pool.submit(write, number) for number in range(4)]:
            writing.result(60)
        stop.set()
        for one in tending:
            one.result(60)
    desk.tend()

    assert tables.query(desk.url, "SELECT count(*), sum(copies) FROM review_card") == [(7, 800)]
    assert tables.query(desk.url, "SELECT count(*) FROM review_copy") == [(800,)]
    assert tables.query(desk.url, "SELECT count(*) FROM review_inbox") == [(0,)]


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


def test_what_was_flagged_before_the_queue_existed_is_taken_up(
    empty_database_url: str,
) -> None:
    url = empty_database_url
    migrate(url, "0006")
    sink = PostgresSink(url, window_seconds=30, writer="old")
    tables.query(url, "CREATE TABLE review_inbox (id serial, example_ids text[])")
    sink.store(sink.prepare([batch([unsure(i, f"text {i % 3}") for i in range(9)])]))
    sink.close()
    tables.query(url, "DROP TABLE review_inbox")
    migrate(url)

    desk = Desk(url)
    assert desk.tend() == 9
    assert texts(desk) == ["text 0", "text 1", "text 2"]


def test_no_card_outlives_its_last_message(desk: Desk) -> None:
    desk.receive(unsure(0, "Mine"), unsure(1, "mine"), unsure(2, "theirs"))
    newest = ExampleFilter(since=datetime.fromtimestamp(NOON / 1000 + 0.001, UTC))
    desk.catalogue.apply(DeleteExamples(dataset_id=DATASET, filter=newest))

    assert tables.query(desk.url, "SELECT text, copies FROM review_card") == [("Mine", 1)]
    desk.catalogue.apply(DeleteDataset(id=DATASET))
    assert texts(desk) == []


def test_no_card_keeps_the_words_of_an_erased_sender(desk: Desk) -> None:
    desk.receive(
        unsure(0, "my secret", phone_number="+911"),
        unsure(1, "Shared words!", phone_number="+911"),
        unsure(2, "shared words", phone_number="+912", timestamp=NOON - 1_000),
    )
    erase_examples(desk.url, ["+911"])

    assert tables.query(desk.url, "SELECT text, copies FROM review_card") == [("shared words", 1)]


def test_the_neighbours_of_a_message_are_its_sender_s(desk: Desk) -> None:
    mine, other = {"phone_number": "+911"}, {"phone_number": "+912"}
    desk.receive(
        entry(0, message_text="first", **mine),
        entry(1, message_text="second", **mine),
        entry(2, message_text="not mine", **other),
        entry(3, message_text="third", **mine),
        unsure(4, "this one", **mine),
        entry(5, message_text="nor this", **other),
        entry(6, message_text="afterwards", **mine),
        entry(7, message_text="too late", **mine),
    )
    card = desk.take()
    assert card is not None
    with desk.catalogue.reading() as catalogue:
        view = ReviewQueue(catalogue.connection).view(card.id)
    assert view is not None
    assert [e.input for e in view.before] == ["second", "third"]
    assert [e.input for e in view.after] == ["afterwards"]
    assert (view.channels, view.senders) == (["whatsapp"], ["+911"])


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


def yesterday(offset: int) -> int:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((midnight - timedelta(hours=20)).timestamp() * 1000) + offset * 60_000


def test_a_share_is_drawn_of_what_was_not_flagged_and_never_twice(desk: Desk) -> None:
    desk.receive(
        *(entry(i, message_text=f"sure {i}", timestamp=yesterday(i)) for i in range(200)),
        unsure(200, "flagged", timestamp=yesterday(50)),
    )
    since = datetime.fromtimestamp(yesterday(0) / 1000, UTC)
    half = DrawShare(dataset_id=DATASET, since=since, until=since + timedelta(days=1), share=0.5)

    drawn = desk.catalogue.apply(half)
    assert 60 < drawn < 140
    assert desk.catalogue.apply(half) == drawn
    [(sure, all_of_them)] = tables.query(
        desk.url,
        "SELECT count(*) FILTER (WHERE queue = 'audit' AND text LIKE 'sure%'),"
        " count(*) FILTER (WHERE queue = 'audit') FROM review_card",
    )
    assert sure == all_of_them == drawn


@pytest.fixture
def audited(desk: Desk) -> Callable[[], int]:
    desk.receive(
        *(entry(i, message_text=f"sure {i}", timestamp=yesterday(i)) for i in range(100)),
        unsure(100, "flagged", timestamp=yesterday(50)),
    )
    return lambda: desk.catalogue.apply(DrawAudit(wanted=20))


def test_the_audit_draws_unflagged_messages_once_a_day(
    desk: Desk, audited: Callable[[], int]
) -> None:
    assert (audited(), audited()) == (20, 0)
    drawn = tables.query(desk.url, "SELECT text FROM review_card WHERE queue = 'audit'")
    assert len(set(drawn)) == 20
    assert ("flagged",) not in drawn
    sql = "SELECT population, drawn FROM review_audit_day WHERE drawn > 0"
    assert tables.query(desk.url, sql) == [(100, 20)]


def test_an_audited_message_is_corrected_like_any_other(
    desk: Desk, audited: Callable[[], int]
) -> None:
    audited()
    card = desk.take(queue=Queue.AUDIT)
    assert card is not None
    desk.decide(card, Verdict.CORRECT, intent="cancel_order")

    sql = """SELECT intent, tags[4:] FROM "Example" WHERE id = %s"""
    assert tables.query(desk.url, sql, card.sample_id) == [("cancel_order", ["reviewed"])]
    desk.undo()
    assert tables.query(desk.url, sql, card.sample_id) == [("track_order", [])]
