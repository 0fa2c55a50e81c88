"""The review queue on a real Postgres: what is flagged becomes cards, and no card outlives it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from intentloop_sink import PostgresSink, Stored, migrate
from intentloop_sink.catalogue import (
    ChangeExample,
    DeleteDataset,
    DeleteExamples,
    Edit,
    ExampleChange,
)
from intentloop_sink.catalogue.filters import ExampleFilter
from intentloop_sink.connection import session
from intentloop_sink.privacy import erase_examples
from intentloop_sink.review import DrawAudit, ReviewQueue, TendQueue, Verdict
from support import tables
from support.batches import NOON, batch, entry, partition
from support.desk import DATASET, Desk, unsure

NOW = datetime.now(UTC)


def texts(desk: Desk) -> list[str]:
    return [text for (text,) in tables.query(desk.url, "SELECT text FROM review_card ORDER BY 1")]


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


@pytest.mark.parametrize("audited", [False, True])
@pytest.mark.parametrize(
    "deletion", [DeleteExamples(dataset_id=DATASET), DeleteDataset(id=DATASET)]
)
def test_no_card_that_is_being_made_outlives_what_is_deleted_meanwhile(
    desk: Desk, deletion: Edit[Any], audited: bool, eventually: Any
) -> None:
    yesterday = round((NOW - timedelta(days=1)).timestamp() * 1000)
    confidence = 0.99 if audited else 0.4
    message = entry(0, confidence=confidence, timestamp=yesterday)
    desk.sink.store(desk.sink.prepare([batch([message])]))
    making: Edit[Any] = DrawAudit() if audited else TendQueue()

    with ThreadPoolExecutor(1) as pool:
        with session(desk.url, "test") as connection:
            making.run(connection, NOW)
            deleting = pool.submit(desk.catalogue.apply, deletion)
            eventually(lambda: deleting.done() or tables.query(desk.url, WAITING), 20)
        deleting.result(20)

    assert desk.examples() == []
    assert texts(desk) == []


WAITING = """
SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


def test_no_card_keeps_the_words_of_an_erased_sender(desk: Desk) -> None:
    desk.receive(
        unsure(0, "my secret", phone_number="+911"),
        unsure(1, "Shared words!", phone_number="+911"),
        unsure(2, "shared words", phone_number="+912", timestamp=NOON - 1_000),
    )
    erase_examples(desk.url, ["+911"])

    assert tables.query(desk.url, "SELECT text, copies FROM review_card") == [("shared words", 1)]
