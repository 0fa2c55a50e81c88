"""What the journal does for a bot: nothing accepted is lost, and log() is none the slower."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from intentloop_producer import ConversationLogger, Counts, LoggerSettings
from intentloop_producer.counts import Tally
from intentloop_producer.journal import Journal
from intentloop_producer.outbox import ADOPTION_SECONDS, JOURNAL_RETRY_SECONDS, Outbox
from intentloop_producer.report import Report
from intentloop_producer.sender import MOST_READY
from intentloop_producer.transport import Failure, Route
from intentloop_schemas import CONVERSATIONS_TOPIC, Event, ReviewRule
from support.shelf import Shelf

Make = Callable[..., ConversationLogger]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "journal"
    monkeypatch.setenv("INTENTLOOP_JOURNAL_DIR", str(folder))
    return folder


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def make(shelf: Shelf, root: Path) -> Iterator[Make]:
    made: list[ConversationLogger] = []

    def make(destination: Shelf = shelf, **settings: Any) -> ConversationLogger:
        made.append(ConversationLogger(LoggerSettings(**settings), route=destination.route()))
        return made[-1]

    yield make
    for logger in made:
        logger.close(0.1)


def log(logger: ConversationLogger, text: object, sender: str = "+15550100") -> bool:
    return logger.log(phone_number=sender, message_text=str(text), intent="greet", confidence=0.9)


def on_disk(root: Path) -> list[str]:
    """Return the texts of the whole lines in all journals, in the order of their segments."""
    lines = [
        line
        for path in sorted(root.glob("*/*/*.jsonl"), key=lambda path: path.name)
        for line in path.read_bytes().rpartition(b"\n")[0].splitlines()
    ]
    return [json.loads(line)["event"]["messageText"] for line in lines]


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


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


# Without


def test_where_nothing_can_be_written_it_says_so_once_and_goes_on(
    make: Make, shelf: Shelf, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root.touch()
    logger = make()
    for number in range(3):
        log(logger, number)
        assert logger.flush(10) == 0
    assert shelf.texts() == numbers(3)
    assert logger.counts == Counts(3, 3, 0, 0, 0, 0, unjournaled=3)
    [warning] = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert str(root) in warning
    assert "INTENTLOOP_JOURNAL_DIR" in warning


READ_ONLY = """
import logging, sys
sys.path.insert(0, {tests!r})
logging.basicConfig(format="%(levelname)s %(message)s")
from intentloop_producer import ConversationLogger, LoggerSettings
from support.shelf import Shelf
import resource
{limit}
shelf = Shelf()
with ConversationLogger(LoggerSettings(), route=shelf.route()) as logger:
    for number in range({count}):
        assert logger.log(phone_number="1", message_text=str(number), intent="a", confidence=1.0)
        if number % 10 == 0:
            logger.flush(10)
assert shelf.texts() == [str(number) for number in range({count})]
print(logger.counts.delivered, logger.counts.unjournaled)
"""


def run_limited(limit: str, count: int, **options: Any) -> subprocess.CompletedProcess[str]:
    script = READ_ONLY.format(tests=str(Path(__file__).parents[1]), limit=limit, count=count)
    return subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, **options
    )


def test_in_a_read_only_folder_a_bot_works_with_one_warning(root: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    # Root may write everywhere.
    limit = "import os; os.geteuid() or os.seteuid(65534)"
    done = run_limited(limit, 30, cwd=tmp_path)
    assert done.stdout == "30 30\n", done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("WARNING The journal cannot be written: [Errno 13] Permission denied")


def test_on_a_full_disk_a_bot_works_with_one_warning(root: Path) -> None:
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, resource.RLIM_INFINITY))"
    done = run_limited(limit, 200)
    delivered, unjournaled = map(int, done.stdout.split())
    assert delivered == 200
    assert 100 < unjournaled < 200
    [line] = done.stderr.splitlines()
    assert line.startswith("WARNING The journal cannot be written: [Errno 27] File too large")


@pytest.mark.parametrize("settings", [{"enabled": False}, {"journal_max_mb": 0}])
def test_switched_off_it_makes_no_file(
    make: Make, shelf: Shelf, root: Path, settings: dict[str, Any]
) -> None:
    logger = make(**settings)
    log(logger, "hello")
    logger.close()
    assert not root.exists()
    assert logger.counts.delivered == len(shelf.taken) == int("enabled" not in settings)


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


# As time goes by


class Clocked:
    """An outbox with a clock that is set by hand."""

    def __init__(self, root: Path) -> None:
        self.now = 0.0
        self.shelf, self.tally = Shelf(), Tally()
        self.disk_is_broken = False
        self.journal = Journal(root, 1_000_000, self._sync)
        report = Report("a shelf", 10, 30)
        self.outbox = Outbox(
            self.shelf, self.journal, ReviewRule(), report, self.tally, lambda: self.now
        )

    def _sync(self, _descriptor: int) -> None:
        if self.disk_is_broken:
            raise OSError(5, "Input/output error")

    def add(self, text: object) -> None:
        text = str(text)
        fields = {"phoneNumber": "1", "messageText": text, "intent": "a", "confidence": 1}
        self.outbox.add(Event.model_validate({**fields, "timestamp": 1_698_345_600_000}))
        self.outbox.pump(0)


def test_when_the_journal_can_be_written_again_it_is(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "intentloop.conversation")
    root.touch()
    ours = Clocked(root)
    ours.shelf.room.clear()
    ours.add("in memory")
    root.unlink()
    ours.add("in memory too")
    assert (ours.tally.unjournaled, ours.journal.kept) == (2, 0)
    ours.now = JOURNAL_RETRY_SECONDS
    ours.add("on disk")
    assert (ours.tally.unjournaled, ours.journal.kept) == (2, 1)
    assert "The journal of conversations can be written again" in caplog.text
    ours.shelf.room.set()
    ours.outbox.pump(0)
    assert ours.shelf.texts() == ["in memory", "in memory too", "on disk"]
    ours.journal.close()


def test_who_has_nothing_else_to_do_sends_for_the_dead(root: Path) -> None:
    ours, dying = Clocked(root), Clocked(root)
    ours.outbox.pump(0)
    dying.shelf.room.clear()
    dying.add("left behind")
    assert dying.journal.close() == 1

    ours.outbox.pump(0)
    assert ours.shelf.texts() == []
    ours.now = ADOPTION_SECONDS
    ours.outbox.pump(0)
    assert ours.shelf.texts() == ["left behind"]
    assert ours.tally.recovered == 1
    ours.outbox.pump(0)
    assert ours.journal.close() == 0


def test_beyond_a_bound_events_are_on_disk_only(root: Path) -> None:
    ours = Clocked(root)
    ours.shelf.room.clear()
    for number in range(MOST_READY + 500):
        ours.add(number)
    assert ours.journal.unread == 500
    ours.shelf.room.set()
    while not ours.outbox.is_settled(ours.outbox.mark):
        ours.outbox.pump(0)
    assert ours.shelf.texts() == numbers(MOST_READY + 500)


def test_what_cannot_be_written_does_not_overtake_what_is_on_disk(root: Path) -> None:
    ours = Clocked(root)
    ours.shelf.room.clear()
    for number in range(MOST_READY + 500):
        ours.add(number)
    ours.disk_is_broken = True
    ours.add("in memory")
    assert not ours.outbox.wants_more
    ours.shelf.room.set()
    while not ours.outbox.is_settled(ours.outbox.mark):
        ours.outbox.pump(0)
    assert ours.shelf.texts() == [*numbers(MOST_READY + 500), "in memory"]
    assert ours.tally.unjournaled == 1


def test_a_mark_is_passed_when_all_before_it_is_settled_whatever_comes_after(root: Path) -> None:
    ours = Clocked(root)
    ours.shelf.answers.clear()
    ours.add("before")
    ours.add("before too")
    mark = ours.outbox.mark
    ours.add("after")
    first, second, third = ours.shelf.waiting
    for settle, passed in ((third, False), (first, False), (second, True)):
        settle(None)
        assert ours.outbox.is_settled(mark) == passed
    ours.add("last")
    assert ours.outbox.is_settled(mark)
    assert not ours.outbox.is_settled(ours.outbox.mark)
    ours.journal.close()


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
