"""What the journal does for a bot: nothing accepted is lost, and log() is none the slower."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from intentloop_producer import ConversationLogger, Counts, LoggerSettings
from intentloop_producer.transport import Failure, Route
from intentloop_schemas import CONVERSATIONS_TOPIC
from support.journals import log, numbers, on_disk
from support.loggers import Make
from support.shelf import Shelf

# On the way


def test_a_message_is_on_disk_before_it_is_sent_and_gone_when_it_is_settled(
    make: Make, shelf: Shelf, root: Path
) -> None:
    seen: list[list[str]] = []

    class Looking(Shelf):
        def send(self, key: bytes, value: bytes, settle: Any) -> bool:
            seen.append(on_disk(root))
            return super().send(key, value, settle)

    logger = make(Looking())
    log(logger, "hello")
    assert logger.flush(10) == 0
    assert seen == [["hello"]]
    assert on_disk(root) == []


def test_while_nothing_is_taken_all_of_it_waits_on_disk_and_leaves_in_order(
    make: Make, shelf: Shelf, root: Path, eventually: Any
) -> None:
    shelf.room.clear()
    logger = make(queue_size=1_000_000)
    for number in range(6_000):
        assert log(logger, number)
    eventually(lambda: len(on_disk(root)) == 6_000)
    assert logger.flush(0.1) == 6_000

    shelf.room.set()
    assert logger.flush(30) == 0
    assert shelf.texts() == numbers(6_000)
    assert logger.counts == Counts(6_000, 6_000, 0, 0, 0, 0)
    assert on_disk(root) == []


def test_a_full_journal_refuses_what_comes_keeps_what_it_has_and_takes_more_later(
    make: Make, shelf: Shelf, root: Path, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    shelf.room.clear()
    logger = make(journal_max_mb=1)
    accepted: list[str] = []

    def fill() -> bool:
        for _ in range(20):
            text = f"{len(accepted)} {'x' * 1_000}"
            if log(logger, text):
                accepted.append(text)
        return logger.counts.dropped > 200

    eventually(fill)
    eventually(lambda: "Conversations dropped: " in caplog.text)
    assert "The journal is full." in caplog.text
    assert 500 < len(accepted) < 1_000
    # Whatever was accepted is on disk: a kill would lose none of it.
    assert on_disk(root) == accepted

    shelf.room.set()
    eventually(lambda: log(logger, "there is room again"))
    assert logger.flush(10) == 0
    assert shelf.texts() == [*accepted, "there is room again"]


def test_what_may_be_delivered_another_time_is_sent_again_in_order(
    make: Make, shelf: Shelf, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    shelf.refusal = Failure("no such topic", is_final=False)
    logger = make()
    for number in range(5):
        log(logger, number)
    eventually(lambda: "a shelf cannot be used, conversations wait: no such topic" in caplog.text)
    shelf.refusal = None
    log(logger, 5)
    assert logger.flush(10) == 0
    assert shelf.texts()[-6:] == numbers(6)
    assert logger.counts == Counts(6, 6, 0, 0, 0, 0)


# After the end


def test_what_is_not_delivered_when_it_is_closed_is_sent_by_the_next_without_a_call(
    make: Make, shelf: Shelf, root: Path, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    shelf.answers.clear()
    logger = make()
    for number in range(20):
        log(logger, number)
    logger.close(0.1)
    assert logger.counts == Counts(20, 0, 0, 0, 0, queued=20)
    assert f"Conversations not sent to a shelf yet: 20. They wait in {root}" in caplog.text

    successor = Shelf()
    restarted = make(successor)
    eventually(lambda: restarted.counts.delivered == 20)
    assert successor.taken == shelf.taken
    assert restarted.counts == Counts(0, 20, 0, 0, 0, 0, recovered=20)
    restarted.close()
    assert not list(root.glob("*/*"))


def test_closing_at_once_still_brings_the_queue_to_the_disk(
    make: Make, shelf: Shelf, root: Path
) -> None:
    shelf.room.clear()
    logger = make()
    for number in range(3_000):
        log(logger, number)
    logger.close(0)
    assert on_disk(root) == numbers(3_000)
    assert logger.counts == Counts(3_000, 0, 0, 0, 0, queued=3_000)


BOT = """
import sys
sys.path.insert(0, {tests!r})
from intentloop_producer import ConversationLogger, LoggerSettings
from support.shelf import Shelf

shelf = Shelf()
shelf.room.clear()
logger = ConversationLogger(LoggerSettings(), route=shelf.route())
def log(text):
    return logger.log(
        phone_number="+15550100", message_text=str(text), intent="greet", confidence=0.9
    )
for number in range(500):
    log(number)
print("logged", flush=True)
sys.stdin.read()
"""


def test_a_killed_bot_s_messages_are_sent_by_the_next_as_they_were(
    make: Make, root: Path, eventually: Any
) -> None:
    script = BOT.format(tests=str(Path(__file__).parents[1]))
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe) as bot:
        assert bot.stdout
        assert bot.stdout.readline() == b"logged\n"
        eventually(lambda: len(on_disk(root)) == 500)
        bot.send_signal(signal.SIGKILL)
    left = [
        json.dumps(json.loads(line)["event"])
        for path in root.glob("*/*/*.jsonl")
        for line in path.read_bytes().splitlines()
    ]

    shelf = Shelf()
    logger = make(shelf)
    eventually(lambda: logger.counts.delivered == 500)
    assert [json.dumps(json.loads(value)) for _, value in shelf.taken] == left
    assert {key for key, _ in shelf.taken} == {b"+15550100"}


def test_what_waits_for_another_topic_is_left_alone(make: Make, root: Path) -> None:
    full = Shelf()
    full.room.clear()
    other = make(full, topic="other/topic")
    log(other, "for the other topic")
    other.close(0.1)

    shelf = Shelf()
    logger = make(shelf)
    log(logger, "for ours")
    assert logger.flush(10) == 0
    assert shelf.texts() == ["for ours"]
    assert on_disk(root) == ["for the other topic"]


def test_a_damaged_line_is_counted_and_said(
    make: Make, shelf: Shelf, root: Path, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    folder = root / CONVERSATIONS_TOPIC / "1-dead"
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    (folder / "1-1-dead.jsonl").write_bytes(b'{"crc":"0","event":{}}\n')
    logger = make()
    eventually(lambda: logger.counts == Counts(0, 0, 0, 1, 0, 0, recovered=1))
    eventually(lambda: "Conversations damaged in the journal: 1." in caplog.text)


def test_a_destination_that_cannot_be_made_leaves_older_messages_on_disk(
    make: Make, root: Path, shelf: Shelf, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    shelf.room.clear()
    logger = make()
    log(logger, "older")
    logger.close(0.1)

    def connect(_: object) -> Any:
        raise ValueError("Unsupported SASL mechanism: NOPE")

    broken = ConversationLogger(LoggerSettings(), route=Route("Kafka", connect))
    eventually(lambda: "Logging has stopped" in caplog.text or not broken._intake.is_open)
    assert on_disk(root) == ["older"]


# Forks


def test_a_forked_child_has_a_folder_of_its_own(make: Make, shelf: Shelf, root: Path) -> None:
    shelf.room.clear()
    logger = make()
    log(logger, "parent")
    logger.flush(0.1)
    [parent] = root.glob("*/*")
    child = os.fork()
    if not child:
        status = 1
        try:
            log(logger, "child")
            logger.close(0.2)
            mine = [path for path in root.glob("*/*") if path != parent]
            own = [json.loads(p.read_bytes())["event"] for f in mine for p in f.glob("*.jsonl")]
            status = int([event["messageText"] for event in own] != ["child"])
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert on_disk(root) == ["parent", "child"]
    # The child has ended: its messages are sent by whoever has nothing else to do.
    shelf.room.set()
    assert logger.flush(10) == 0
    assert shelf.texts() == ["parent"]
