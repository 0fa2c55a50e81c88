"""The logger and where it sends to: what it was given arrives, once, in order, from wherever.

Over a real Kafka and over HTTP alike.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from intentloop_producer import ConversationLogger, Counts
from intentloop_producer import kafka as kafka_transport
from intentloop_producer.kafka import KafkaTransport
from intentloop_producer.transport import Failure
from intentloop_schemas.kafka import KafkaSettings
from support.destinations import Destination, KafkaDestination
from support.topic_reader import read_topic

PATIENCE = 60


@pytest.fixture(autouse=True)
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "journal"
    monkeypatch.setenv("INTENTLOOP_JOURNAL_DIR", str(folder))
    return folder


@pytest.fixture
def logger(destination: Destination) -> Iterator[ConversationLogger]:
    with destination.logger() as logger:
        yield logger


def log(logger: ConversationLogger, sender: str, text: str, **more: Any) -> bool:
    return logger.log(
        phone_number=sender, message_text=text, intent="track_order", confidence=0.9, **more
    )


def texts_by_sender(destination: Destination) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {}
    for event in destination.events():
        texts.setdefault(event.phone_number, []).append(event.message_text)
    return texts


def test_events_arrive_valid_and_in_order(
    destination: Destination, logger: ConversationLogger
) -> None:
    said = {f"+1555010{sender}": [f"message {n}" for n in range(50)] for sender in range(8)}
    for n in range(50):
        for sender in said:
            assert log(logger, sender, f"message {n}", channel="rcs", language="en")
    assert logger.flush(PATIENCE) == 0

    assert texts_by_sender(destination) == said
    events = destination.events()
    assert {(event.channel, event.language) for event in events} == {("rcs", "en")}
    assert len({event.event_id for event in events}) == 400
    assert logger.counts == Counts(400, 400, 0, 0, 0, 0)


# murmur2 of the key, modulo 4, as reckoned by kafka-clients' org.apache.kafka.common.utils.Utils.
JAVA_PARTITIONS = {"+919876543210": 1, "+15550100": 2, "+15550101": 1, "session-1": 0, "4711": 2}


def test_senders_go_to_the_partitions_that_java_clients_choose(kafka: Any, topic: str) -> None:
    with KafkaDestination(kafka, topic).logger() as logger:
        for sender in JAVA_PARTITIONS:
            log(logger, sender, "hello")
        assert logger.flush(PATIENCE) == 0
    records = read_topic(kafka.bootstrap_servers, topic)
    assert {record.key().decode(): record.partition() for record in records} == JAVA_PARTITIONS


def test_threads_and_asyncio_tasks_share_a_logger(
    destination: Destination, logger: ConversationLogger
) -> None:
    def talk(sender: str) -> None:
        for n in range(100):
            log(logger, sender, str(n))

    async def chat(sender: str) -> None:
        for n in range(100):
            log(logger, sender, str(n))
            await asyncio.sleep(0)

    async def chats() -> None:
        await asyncio.gather(*(chat(f"task {n}") for n in range(4)))

    threads = [threading.Thread(target=talk, args=(f"thread {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    asyncio.run(chats())
    for thread in threads:
        thread.join()

    assert logger.flush(PATIENCE) == 0
    found = texts_by_sender(destination)
    assert len(found) == 8
    assert all(texts == [str(n) for n in range(100)] for texts in found.values())


def test_closing_delivers_what_was_logged(destination: Destination) -> None:
    logger = destination.logger()
    for n in range(2_000):
        assert log(logger, "+15550100", str(n))
    logger.close(PATIENCE)
    found = texts_by_sender(destination)
    assert found == {"+15550100": [str(n) for n in range(2_000)]}
    assert logger.counts.delivered == 2_000


def test_a_producer_that_failed_for_good_is_replaced_and_what_it_held_is_settled(
    kafka: Any, make_topic: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka_settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers)
    # With these, librdkafka gives a producer up when the broker refuses a message.
    monkeypatch.setitem(kafka_transport.PRODUCER, "enable.gapless.guarantee", True)
    monkeypatch.setitem(kafka_transport.PRODUCER, "compression.type", "none")
    topic = make_topic(partitions=1, config={"max.message.bytes": "300"})
    settled: list[Failure | None] = []
    trouble: list[str] = []
    transport = KafkaTransport(kafka_settings, topic, trouble.append)
    transport.send(b"a", b"before", settled.append)
    transport.flush(PATIENCE)

    transport.send(b"a", b"x" * 1_000, settled.append)
    transport.flush(PATIENCE)
    assert "GAPLESS_GUARANTEE" in trouble[-1]
    [_, failure] = settled
    assert failure is not None
    assert "Message size too large" in failure.why
    assert not failure.is_final

    transport.send(b"a", b"after", settled.append)
    transport.flush(PATIENCE)
    assert settled[2:] == [None]
    values = [record.value() for record in read_topic(kafka.bootstrap_servers, topic)]
    assert values == [b"before", b"after"]

    transport.close()
    left = weakref.ref(transport)
    del transport
    gc.collect()
    assert left() is None


def test_a_transport_that_is_closed_settles_nothing_more_and_leaves_nothing_in_memory() -> None:
    settled: list[Failure | None] = []
    transport = KafkaTransport(KafkaSettings(bootstrap_servers="127.0.0.1:1"), "topic", print)
    for _ in range(10):
        assert transport.send(b"a", b"said", settled.append)
    transport.close()
    left = weakref.ref(transport)
    del transport
    gc.collect()
    assert left() is None
    assert settled == []


# Away


@pytest.mark.fault
def test_while_it_is_away_the_bot_notices_nothing_and_what_it_said_arrives_later(
    destination: Destination, logger: ConversationLogger, caplog: pytest.LogCaptureFixture,
    eventually: Any,
) -> None:  # fmt: skip
    log(logger, "+15550100", "before")
    assert logger.flush(PATIENCE) == 0

    destination.stop()
    try:
        costs = []
        for n in range(2_000):
            start = time.perf_counter()
            assert log(logger, "+15550100", str(n))
            costs.append(time.perf_counter() - start)
        assert logger.flush(0.5) == 2_000
        trouble = f"{destination.name} cannot be used, conversations wait"
        eventually(lambda: trouble in caplog.text)
    finally:
        destination.restart()
    assert sorted(costs)[int(len(costs) * 0.99)] < 0.01

    log(logger, "+15550100", "after")
    assert logger.flush(PATIENCE) == 0
    found = texts_by_sender(destination)
    assert found == {"+15550100": ["before", *map(str, range(2_000)), "after"]}
    assert logger.counts == Counts(2_002, 2_002, 0, 0, 0, 0)
    assert "+15550100" not in caplog.text


# Processes

SCRIPT = """
import os, sys, threading, time
from intentloop_producer import ConversationLogger

logger = ConversationLogger()

def log(sender, count):
    for n in range(count):
        assert logger.log(
            phone_number=sender, message_text=str(n), intent="greet", confidence=0.9
        )
"""


@pytest.fixture
def run_bot(destination: Destination, journal: Path) -> Callable[..., float]:
    def run(body: str, **environment: str) -> float:
        """Run a bot to its end, and return how many seconds that took."""
        start = time.monotonic()
        subprocess.run(
            [sys.executable, "-c", SCRIPT + body],
            check=True,
            timeout=PATIENCE,
            env={
                **destination.environment,
                "INTENTLOOP_JOURNAL_DIR": str(journal),
                **environment,
            },
        )
        return time.monotonic() - start

    return run


def test_a_bot_that_ends_without_closing_loses_nothing(
    destination: Destination, run_bot: Callable[..., float]
) -> None:
    run_bot("log('bot', 300)")
    found = texts_by_sender(destination)
    assert found == {"bot": [str(n) for n in range(300)]}


def test_a_bot_that_ends_on_an_exception_loses_nothing(
    destination: Destination, run_bot: Callable[..., float]
) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        run_bot("log('bot', 20); raise SystemExit(3)")
    assert len(destination.events()) == 20


def test_a_bot_ends_in_time_while_its_destination_is_away(
    destination: Destination, run_bot: Callable[..., float]
) -> None:
    assert run_bot("log('bot', 300)", **destination.nowhere) < 20


# While a parent looks up the broker's name a child may inherit glibc's lock: see operations.md.
FORKS = """
log("parent", 100)
assert not logger.flush(10)
children = []
for n in range(3):
    pid = os.fork()
    if not pid:
        log(f"child {n}", 100)
        sys.exit()
    children.append(pid)
log("parent again", 100)
for pid in children:
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""

WORKERS = """
import multiprocessing
log("parent", 100)
assert not logger.flush(10)
context = multiprocessing.get_context("fork")
children = [context.Process(target=log, args=(f"child {n}", 100)) for n in range(3)]
for child in children:
    child.start()
log("parent again", 100)
for child in children:
    child.join()
    assert child.exitcode == 0
"""


@pytest.mark.parametrize("way", [FORKS, WORKERS], ids=["os.fork", "multiprocessing"])
def test_forked_children_log_on_their_own_and_nothing_is_said_twice(
    destination: Destination, run_bot: Callable[..., float], way: str
) -> None:
    run_bot(way)
    found = texts_by_sender(destination)
    senders = ["child 0", "child 1", "child 2", "parent", "parent again"]
    assert sorted(found) == senders
    assert all(texts == [str(n) for n in range(100)] for texts in found.values())


def test_a_child_that_logs_nothing_ends_as_if_there_were_no_logger(
    destination: Destination, run_bot: Callable[..., float]
) -> None:
    run_bot(
        "log('parent', 10)\n"
        "if not (pid := os.fork()):\n"
        "    assert logger.counts.accepted == 0\n"
        "    sys.exit()\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0\n"
    )
    assert len(destination.events()) == 10


OPEN = """
def sockets():
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except FileNotFoundError:
            pass
    return [name for name in found if name.startswith("socket:")]

def threads():
    return len(os.listdir("/proc/self/task"))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("is_away", [False, True], ids=["there", "away"])
def test_a_closed_logger_leaves_nothing_open(
    destination: Destination, run_bot: Callable[..., float], is_away: bool
) -> None:
    run_bot(
        f"{OPEN}\n"
        "import gc; gc.disable()\n"
        "log('bot', 10)\n"
        "logger.close(0.5)\n"
        "deadline = time.monotonic() + 10\n"
        "while (threads(), sockets()) != (1, []):\n"
        "    assert time.monotonic() < deadline, (threads(), sockets())\n",
        **(destination.nowhere if is_away else {}),
    )


def test_a_child_that_is_forked_after_loggers_were_closed_may_collect_garbage(
    destination: Destination, run_bot: Callable[..., float]
) -> None:
    """It crashes when that ends a connection whose threads are its parent's."""
    run_bot(
        "import gc; gc.disable()\n"
        "for _ in range(8):\n"
        "    logger = ConversationLogger()\n"
        "    log('parent', 1)\n"
        "    logger.close(1)\n"
        "if not (pid := os.fork()):\n"
        "    gc.collect()\n"
        "    sys.exit()\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0\n"
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_disabled_it_has_no_thread_and_no_socket(run_bot: Callable[..., float]) -> None:
    run_bot(
        f"{OPEN}\n"
        "for _ in range(100):\n"
        "    assert not logger.log(\n"
        "        phone_number='1', message_text='a', intent='b', confidence=1.0\n"
        "    )\n"
        "assert (threads(), sockets()) == (1, []), (threads(), sockets())",
        CONVERSATION_LOGGING_ENABLED="false",
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_it_opens_nothing_before_the_first_message(run_bot: Callable[..., float]) -> None:
    run_bot(
        f"{OPEN}\n"
        "assert (threads(), sockets()) == (1, []), (threads(), sockets())\n"
        "log('bot', 1)\n"
        "assert logger.flush(30) == 0\n"
        "assert threads() > 1 and sockets()"
    )
