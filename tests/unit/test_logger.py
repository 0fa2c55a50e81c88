"""The logger from the bot's side: it never raises, waits or blocks, and it counts everything."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from intentloop_producer import ConversationLogger, Counts, LoggerSettings
from intentloop_producer.transport import Failure, Route
from support.loggers import MESSAGE, Make, log
from support.shelf import Shelf

pytestmark = pytest.mark.usefixtures("clean_environment")

# What arrives


def test_a_message_arrives_with_its_sender_as_key(make: Make, shelf: Shelf) -> None:
    logger = make()
    assert log(logger, message_id="wamid.1", timestamp=1_698_345_600_000)
    assert logger.flush(10) == 0

    [(key, value)] = shelf.taken
    assert key == b"+919876543210"
    assert json.loads(value) == {
        "phoneNumber": "+919876543210",
        "messageText": "where is my order?",
        "intent": "track_order",
        "confidence": 0.95,
        "timestamp": 1_698_345_600_000,
        "eventId": "m1-a276512d2e444e433bc2714bdd8efcf1",
        "channel": "whatsapp",
        "messageId": "wamid.1",
        "datasetId": "ds-auto-training",
    }
    assert logger.counts == Counts(1, 1, 0, 0, 0, 0)


def test_the_time_of_a_message_is_that_of_the_call(make: Make, shelf: Shelf) -> None:
    shelf.room.clear()
    logger = make()
    before = time.time_ns() // 1_000_000
    log(logger)
    after = time.time_ns() // 1_000_000
    shelf.room.set()
    logger.flush(10)
    assert before <= json.loads(shelf.taken[0][1])["timestamp"] <= after


def test_messages_of_many_threads_all_arrive_each_thread_s_in_order(
    make: Make, shelf: Shelf
) -> None:
    logger = make()

    def talk(sender: int) -> None:
        for n in range(200):
            assert log(logger, phone_number=f"sender {sender}", message_text=str(n))

    threads = [threading.Thread(target=talk, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert logger.flush(30) == 0
    assert logger.counts == Counts(1600, 1600, 0, 0, 0, 0)
    for sender in range(8):
        key = f"sender {sender}".encode()
        texts = [json.loads(value)["messageText"] for k, value in shelf.taken if k == key]
        assert texts == [str(n) for n in range(200)]


def test_asyncio_tasks_log_without_awaiting(make: Make, shelf: Shelf) -> None:
    logger = make()

    async def talk() -> None:
        async def one(n: int) -> None:
            await asyncio.sleep(0)
            assert log(logger, message_text=str(n))

        await asyncio.gather(*(one(n) for n in range(100)))

    asyncio.run(talk())
    assert logger.flush(10) == 0
    assert sorted(map(int, shelf.texts())) == list(range(100))


# What does not


def test_what_is_no_event_is_counted_and_explained_and_the_next_arrives(
    make: Make, shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    logger = make()
    assert log(logger, confidence="very")
    assert log(logger, message_text="hello")
    assert logger.flush(10) == 0

    assert shelf.texts() == ["hello"]
    assert logger.counts == Counts(2, 1, 1, 0, 0, 0)
    assert "confidence: send a number, not a string" in caplog.text
    assert MESSAGE["phone_number"] not in caplog.text


FIELDS = [
    *MESSAGE,
    "current_step",
    "timestamp",
    "channel",
    "language",
    "model_version",
    "session_id",
    "message_id",
    "alternatives",
    "dataset_id",
    "event_id",
]


class Nasty:
    """An object on which everything raises."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("nasty")


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**5000),
    st.floats(),
    st.text(st.characters(), max_size=80),
    st.binary(max_size=10),
    st.datetimes(),
    st.lists(st.integers() | st.dictionaries(st.text(max_size=3), st.floats()), max_size=3),
    st.builds(object),
    st.builds(Nasty),
)


ODD: dict[str, Callable[[], object]] = {
    "nasty": Nasty,
    "huge": lambda: 10**5000,
    "lone surrogate": lambda: "\ud800",
    "NUL": lambda: "\0",
    "list": list,
}


@pytest.mark.parametrize("make_value", ODD.values(), ids=ODD)
def test_each_argument_may_be_anything(
    make: Make, shelf: Shelf, make_value: Callable[[], object]
) -> None:
    logger = make()
    for field in FIELDS:
        assert log(logger, **{field: make_value()})
    log(logger, message_text="still there")
    assert logger.flush(10) == 0
    assert shelf.texts()[-1] == "still there"
    assert logger.counts.dropped == 0


def test_nothing_that_is_passed_raises_or_stops_the_logger(make: Make, shelf: Shelf) -> None:
    logger = make(queue_size=1_000_000)
    calls = 0

    @hypothesis_settings(deadline=None)
    @given(st.dictionaries(st.sampled_from(FIELDS), ANYTHING))
    def anything_goes(fields: dict[str, Any]) -> None:
        nonlocal calls
        calls += 1
        assert log(logger, **fields)

    anything_goes()
    log(logger, message_text="still there")
    assert logger.flush(30) == 0
    counts = logger.counts
    assert shelf.texts()[-1] == "still there"
    assert counts.accepted == calls + 1 == counts.delivered + counts.invalid


def test_a_full_queue_drops_the_newest_and_counts(
    make: Make, shelf: Shelf, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    logger = make(queue_size=5)
    assert log(logger, message_text="in hand")
    shelf.serves.clear()
    shelf.polled.clear()
    assert shelf.polled.wait(10)

    taken = [log(logger, message_text=str(n)) for n in range(8)]
    assert taken == [True] * 5 + [False] * 3
    assert logger.counts.dropped == 3
    shelf.serves.set()
    eventually(lambda: "Conversations dropped: 3. The queue of 5 is full." in caplog.text)

    assert logger.flush(10) == 0
    assert shelf.texts() == ["in hand", "0", "1", "2", "3", "4"]
    assert logger.counts == Counts(6, 6, 0, 0, 3, 0)


def test_what_the_destination_refuses_is_counted_and_said(
    make: Make, shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    shelf.refusal = Failure("the message is too large")
    logger = make()
    log(logger)
    assert logger.flush(10) == 0
    logger.close()
    assert logger.counts == Counts(1, 0, 0, 1, 0, 0)
    assert "Conversations not delivered to a shelf: 1. the message is too large" in caplog.text


def test_a_destination_that_cannot_be_made_is_said_and_counted(
    caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    def connect(_: object) -> Any:
        raise ValueError("Unsupported SASL mechanism: NOPE")

    logger = ConversationLogger(LoggerSettings(), route=Route("Kafka", connect))
    log(logger)
    eventually(lambda: logger.counts.queued == 0)
    assert not log(logger)
    assert logger.counts == Counts(1, 0, 0, 1, 1, 0)
    assert "Logging has stopped: Unsupported SASL mechanism: NOPE" in caplog.text
