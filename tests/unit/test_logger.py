"""The logger from the bot's side: it never raises, waits or blocks, and it counts everything."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from intentloop_producer import ConversationLogger, Counts, LoggerSettings
from intentloop_producer.transport import Failure, Route
from intentloop_schemas.kafka import KafkaSettings
from support.shelf import Shelf

MESSAGE: dict[str, Any] = {
    "phone_number": "+919876543210",
    "message_text": "where is my order?",
    "intent": "track_order",
    "confidence": 0.95,
}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [*os.environ]:
        if name.startswith(("KAFKA_", "INTENTLOOP_", "CONVERSATION_", "CONFIDENCE_", "BATCH_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("INTENTLOOP_JOURNAL_DIR", str(tmp_path / "journal"))


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


Make = Callable[..., ConversationLogger]


@pytest.fixture
def make(shelf: Shelf) -> Iterator[Make]:
    made: list[ConversationLogger] = []

    def make(**settings: Any) -> ConversationLogger:
        made.append(ConversationLogger(LoggerSettings(**settings), route=shelf.route()))
        return made[-1]

    yield make
    for logger in made:
        logger.close(0.1)


def log(logger: ConversationLogger, **changes: Any) -> bool:
    return logger.log(**{**MESSAGE, **changes})


def delivery_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "conversation-logger" and t.is_alive()]


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


# Off


def test_disabled_there_is_no_thread_and_nothing_is_counted(
    make: Make, shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    before = delivery_threads()
    logger = make(enabled=False)
    assert not log(logger)
    assert logger.flush() == 0
    logger.close()
    assert delivery_threads() == before
    assert logger.counts == Counts(0, 0, 0, 0, 0, 0)
    assert not caplog.messages


def test_without_a_broker_it_warns_once_and_counts(caplog: pytest.LogCaptureFixture) -> None:
    before = delivery_threads()
    logger = ConversationLogger()
    assert [log(logger) for _ in range(3)] == [False] * 3
    assert logger.counts == Counts(0, 0, 0, 0, 3, 0)
    assert delivery_threads() == before
    [message] = caplog.messages
    assert "KAFKA_BOOTSTRAP_SERVERS is not set" in message


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CONFIDENCE_THRESHOLD_FOR_REVIEW", "70"),
        ("BATCH_SIZE", "ten"),
        ("BATCH_SECONDS", "-7.5"),
        ("CONVERSATION_LOGGING_ENABLED", "perhaps"),
        ("INTENTLOOP_QUEUE_SIZE", "-5"),
        ("KAFKA_SECURITY_PROTOCOL", "TLS"),
    ],
)
def test_wrong_settings_are_named_once_and_the_bot_runs_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, variable: str, value: str
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "hunter2")
    monkeypatch.setenv(variable, value)
    logger = ConversationLogger()
    assert not log(logger)
    assert not log(logger)
    logger.close()
    [message] = caplog.messages
    assert f"{variable}: " in message
    assert value not in message.replace(variable, "")
    assert "hunter2" not in message


def test_settings_of_any_type_do_not_stop_a_bot(caplog: pytest.LogCaptureFixture) -> None:
    logger = ConversationLogger("settings", kafka=7)  # type: ignore[arg-type]
    assert not log(logger)
    assert "counted, not logged" in caplog.text


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVERSATION_LOGGING_ENABLED", "false")
    monkeypatch.setenv("INTENTLOOP_TOPIC", "chats")
    monkeypatch.setenv("CONFIDENCE_THRESHOLD_FOR_REVIEW", "0.5")
    monkeypatch.setenv("BATCH_SIZE", "")
    settings = LoggerSettings()
    assert (settings.enabled, settings.topic, settings.confidence_threshold) == (
        False,
        "chats",
        0.5,
    )
    assert settings.batch_size == 10


# Flushing and closing


def test_flush_waits_no_longer_than_it_is_told_and_returns_what_remains(
    make: Make, shelf: Shelf
) -> None:
    shelf.answers.clear()
    logger = make()
    log(logger)
    log(logger)
    start = time.monotonic()
    assert logger.flush(0.2) == 2
    assert time.monotonic() - start < 5

    shelf.answers.set()
    assert logger.flush(10) == 0


def test_flush_and_close_may_take_for_ever(make: Make, shelf: Shelf) -> None:
    logger = make()
    log(logger)
    assert logger.flush(float("inf")) == 0
    log(logger)
    logger.close(float("inf"))
    assert logger.counts == Counts(2, 2, 0, 0, 0, 0)


def test_flush_of_an_unused_logger_does_nothing(make: Make) -> None:
    before = delivery_threads()
    assert make().flush() == 0
    assert delivery_threads() == before


def test_flush_does_not_wait_for_a_thread_that_gives_up(eventually: Any) -> None:
    flushing = threading.Event()

    def connect(_: object) -> Any:
        flushing.wait(10)
        raise ValueError("Unsupported SASL mechanism: NOPE")

    logger = ConversationLogger(LoggerSettings(), route=Route("Kafka", connect))
    log(logger)
    waiting = threading.Thread(target=logger.flush, args=(60,))
    waiting.start()
    eventually(lambda: len(logger._intake._queue) == 2)
    flushing.set()
    waiting.join(10)
    assert not waiting.is_alive()


def test_close_delivers_the_rest_and_ends_the_thread(make: Make, shelf: Shelf) -> None:
    before = delivery_threads()
    with make() as logger:
        for n in range(500):
            log(logger, message_text=str(n))
    assert len(shelf.taken) == 500
    assert logger.counts == Counts(500, 500, 0, 0, 0, 0)
    assert delivery_threads() == before


def test_after_closing_it_refuses_counts_and_says_so_once(
    make: Make, shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    logger = make()
    log(logger)
    logger.close()
    logger.close()
    assert not log(logger)
    assert not log(logger)
    assert logger.counts == Counts(1, 1, 0, 0, 2, 0)
    assert caplog.messages.count("Conversations are no longer logged: the logger is closed.") == 1


@pytest.mark.parametrize("obstacle", ["room", "answers"])
def test_closing_is_bounded_and_what_it_gives_up_is_counted_and_said(
    make: Make, shelf: Shelf, caplog: pytest.LogCaptureFixture, obstacle: str
) -> None:
    getattr(shelf, obstacle).clear()
    logger = make(journal_max_mb=0)
    for _ in range(20):
        log(logger)
    start = time.monotonic()
    logger.close(0.2)
    assert time.monotonic() - start < 5
    assert logger.counts == Counts(20, 0, 0, 20, 0, 0)
    assert "Conversations not delivered to a shelf: 20" in caplog.text


# Cost


def milliseconds_to_run(code: str) -> float:
    script = f"import time; start = time.perf_counter()\n{code}\n"
    script += "print((time.perf_counter() - start) * 1000)"
    runs = [
        subprocess.run(
            [sys.executable, "-c", script], check=True, capture_output=True, text=True
        ).stdout
        for _ in range(3)
    ]
    return min(map(float, runs))


def test_importing_it_costs_a_fraction_of_the_libraries_it_uses() -> None:
    ours = milliseconds_to_run("from intentloop_producer import ConversationLogger")
    theirs = milliseconds_to_run("import confluent_kafka, pydantic, pydantic_settings")
    print(f"import: {ours:.0f} ms; confluent_kafka, pydantic, pydantic_settings: {theirs:.0f} ms")
    assert ours < theirs / 3


def test_importing_it_loads_none_of_them() -> None:
    code = "import sys, intentloop_producer; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert not {"pydantic", "pydantic_settings", "confluent_kafka", "asyncio"} & set(loaded)


def percentile(costs: list[int], share: float) -> int:
    return sorted(costs)[int(len(costs) * share)]


def costs_of(call: Callable[[], object], times: int) -> list[int]:
    costs = []
    for _ in range(times):
        start = time.perf_counter_ns()
        call()
        costs.append(time.perf_counter_ns() - start)
    return costs


def test_a_call_costs_about_what_a_line_in_the_log_costs(make: Make) -> None:
    line = logging.getLogger("test.a_line")
    line.setLevel(logging.INFO)
    line.addHandler(logging.FileHandler(os.devnull))
    line.propagate = False
    lines = costs_of(lambda: line.info("where is my order? %s", 0.95), 20_000)

    logger = make(queue_size=1_000_000)
    calls = costs_of(lambda: log(logger), 20_000)

    shares = (0.5, 0.99, 0.999)
    print("log() p50 p99 p99.9 in us:", [percentile(calls, share) / 1000 for share in shares])
    print("a log line p50 p99 p99.9: ", [percentile(lines, share) / 1000 for share in shares])
    assert percentile(calls, 0.5) < 2 * percentile(lines, 0.5)
    assert percentile(calls, 0.99) < 5 * percentile(lines, 0.99)


def test_kafka_settings_hide_the_password() -> None:
    assert "hunter2" not in repr(KafkaSettings(sasl_password="hunter2"))  # type: ignore[arg-type]
