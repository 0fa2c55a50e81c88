"""The journal: bots are killed, the destination is away, and nothing is lost.

With a real Kafka and over HTTP alike.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from intentloop_schemas import Event
from support.destinations import Destination

pytestmark = pytest.mark.fault

PATIENCE = 60

# A bot that writes a history of what log() accepted, line by line: text and time.
BOT = """
import json, os, sys, time
from intentloop_producer import ConversationLogger

logger = ConversationLogger()
history = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def log(sender, number):
    at = time.monotonic()
    accepted = logger.log(
        phone_number=sender, message_text=str(number), intent="greet", confidence=0.9
    )
    cost = time.monotonic() - at
    if accepted:
        os.write(history, f"{sender} {number} {at} {cost}\\n".encode())
    return accepted

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

"""
TALK = """
for number in range(1_000_000):
    log(sys.argv[2] + str(number % 3), number)
    time.sleep(0.0005)
"""
RESTART = "print(logger.flush(60), logger.counts.recovered)"


class Said(NamedTuple):
    """One line of a history; times in seconds."""

    sender: str
    text: str
    at: float
    cost: float


LAST_MOMENT_SECONDS = 0.5
"""20 ms and a sync of the disk, which takes a while when many tests write."""

Bot = subprocess.Popen[str]
StartBot = Callable[..., Bot]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def start_bot(destination: Destination, journal: Path, tmp_path: Path) -> Iterator[StartBot]:
    bots: list[Bot] = []

    def start(body: str, *arguments: str, **environment: str) -> Bot:
        bot = subprocess.Popen(
            [sys.executable, "-c", BOT + body, str(tmp_path / f"history-{len(bots)}"), *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={
                **destination.environment,
                "INTENTLOOP_JOURNAL_DIR": str(journal),
                **environment,
            },
        )
        bots.append(bot)
        return bot

    yield start
    for bot in bots:
        bot.kill()
        bot.communicate()


@pytest.fixture
def come_back(destination: Destination) -> Iterator[Callable[[], None]]:
    """The destination is away until the function is called, or the test ends."""
    is_back = False

    def restart() -> None:
        nonlocal is_back
        is_back = True
        destination.restart()

    destination.kill()
    yield restart
    if not is_back:
        destination.restart()


def history(tmp_path: Path, number: int = 0) -> list[Said]:
    path = tmp_path / f"history-{number}"
    if not path.exists():
        return []
    lines = [line.split() for line in path.read_text().splitlines()]
    return [Said(line[0], line[1], float(line[2]), float(line[3])) for line in lines]


def on_disk(journal: Path) -> list[Event]:
    """Return the events in all journals; call it when nobody writes."""
    return [
        Event.model_validate(json.loads(line)["event"])
        for path in sorted(journal.glob("*/*/*.jsonl"), key=lambda path: path.name)
        for line in path.read_bytes().splitlines()
    ]


def by_sender(said: list[Said] | list[Event]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in said:
        sender, text = (one.phone_number, one.message_text) if isinstance(one, Event) else one[:2]
        found.setdefault(sender, []).append(text)
    return found


def kill(bot: Bot) -> float:
    """Kill a bot, and return when that was."""
    now = time.monotonic()
    bot.send_signal(signal.SIGKILL)
    bot.wait(10)
    return now


def percentile(said: list[Said], share: float) -> float:
    return sorted(one.cost for one in said)[int(len(said) * share)]


def finish(bot: Bot) -> list[int]:
    """Return the numbers that a bot printed at its end."""
    output, _ = bot.communicate(timeout=PATIENCE + 30)
    assert bot.returncode == 0
    return [int(number) for number in output.split()]


def test_a_bot_killed_while_it_is_away_loses_the_last_moment_and_nothing_else(
    destination: Destination, start_bot: StartBot, come_back: Callable[[], None],
    tmp_path: Path, journal: Path, eventually: Any,
) -> None:  # fmt: skip
    bot = start_bot(TALK, "sender-")
    eventually(lambda: len(history(tmp_path)) > 2_000, timeout=PATIENCE)
    killed_at = kill(bot)

    said, kept = history(tmp_path), on_disk(journal)
    # In the order of the calls the journal holds a prefix of what was accepted.
    assert [event.message_text for event in kept] == [one.text for one in said[: len(kept)]]
    lost = said[len(kept) :]
    window = killed_at - lost[0].at if lost else 0.0
    p99 = percentile(said, 0.99)
    print(
        f"killed: {len(said)} accepted, {len(lost)} lost, logged in the last {window * 1e3:.0f} ms"
    )
    print(f"log() p99 {p99 * 1e6:.0f} us while it was away")
    assert window < LAST_MOMENT_SECONDS
    assert p99 < 0.01

    come_back()
    assert finish(start_bot(RESTART)) == [0, len(kept)]
    events = destination.events()
    assert by_sender(events) == by_sender(kept)
    assert {event.event_id: event for event in events} == {event.event_id: event for event in kept}
    assert len(events) == len(kept)
    assert not list(journal.glob("*/*"))


def assert_only_last_moments_are_missing(destination: Destination, said: list[Said]) -> None:
    """Check that each sender's events arrived in order, and that those missing were its last."""
    events = destination.events()
    # The store keeps the first of what has the same id and time.
    first = list({(event.event_id, event.timestamp): event for event in events}.values())
    assert len(first) == len({event.event_id for event in events})
    arrived, accepted = by_sender(first), by_sender(said)
    assert arrived.keys() == accepted.keys()
    for sender, texts in arrived.items():
        assert texts == accepted[sender][: len(texts)]
        moments = [one.at for one in said if one.sender == sender]
        assert moments[-1] - moments[len(texts) - 1] < LAST_MOMENT_SECONDS


def test_bots_killed_in_the_middle_of_sending_lose_the_last_moment_and_nothing_else(
    destination: Destination, start_bot: StartBot, tmp_path: Path, journal: Path, eventually: Any
) -> None:
    for life in range(3):
        bot = start_bot(TALK, f"life-{life}-")
        eventually(lambda life=life: len(history(tmp_path, life)) > 1_500, timeout=PATIENCE)
        kill(bot)
    assert finish(start_bot(RESTART))[0] == 0
    said = [one for life in range(3) for one in history(tmp_path, life)]
    assert_only_last_moments_are_missing(destination, said)
    assert not list(journal.glob("*/*"))


def test_several_bots_share_a_folder_and_the_living_send_for_the_dead(
    destination: Destination, start_bot: StartBot, come_back: Callable[[], None],
    tmp_path: Path, journal: Path, eventually: Any,
) -> None:  # fmt: skip
    bots = [start_bot(TALK, f"bot-{number}-") for number in range(3)]
    eventually(
        lambda: all(len(history(tmp_path, number)) > 1_500 for number in range(3)), timeout=PATIENCE
    )
    assert len(list(journal.glob("*/*"))) == 3
    for bot in bots[:2]:
        kill(bot)
    come_back()
    # The third one goes on meanwhile, and nobody touches what it holds.
    before = len(history(tmp_path, 2))
    assert finish(start_bot(RESTART))[0] == 0
    eventually(lambda: len(history(tmp_path, 2)) > before + 100, timeout=PATIENCE)
    kill(bots[2])
    assert finish(start_bot(RESTART))[0] == 0

    said = [one for number in range(3) for one in history(tmp_path, number)]
    assert_only_last_moments_are_missing(destination, said)
    assert not list(journal.glob("*/*"))


FORKS = """
for number in range(200):
    assert log("parent-", number)
logger.flush(0.2)
for child in range(2):
    if not os.fork():
        for number in range(200):
            assert log(f"child-{child}-", number)
        logger.flush(0.2)
        os.kill(os.getpid(), 9)
for child in range(2):
    os.wait()
for number in range(200, 300):
    assert log("parent-", number)
logger.flush(0.2)
os.kill(os.getpid(), 9)
"""


def test_forked_workers_are_killed_with_their_parent_and_everything_arrives(
    destination: Destination, start_bot: StartBot, come_back: Callable[[], None], journal: Path
) -> None:
    bot = start_bot(FORKS)
    bot.wait(PATIENCE)
    assert len(on_disk(journal)) == 700
    come_back()
    assert finish(start_bot(RESTART)) == [0, 700]
    events = destination.events()
    assert by_sender(events) == {
        "parent-": [str(number) for number in range(300)],
        "child-0-": [str(number) for number in range(200)],
        "child-1-": [str(number) for number in range(200)],
    }


MANY = """
log("warm", 0)
logger.flush(1)
before = resident()
for number in range(50_000):
    while not log(f"sender-{number % 5}-", number):
        time.sleep(0.001)
logger.flush(1)
print(resident() - before, logger.counts.queued, flush=True)
print(logger.flush(120), logger.counts.delivered, logger.counts.failed)
"""


def test_50_000_messages_wait_on_disk_while_it_is_away(
    destination: Destination, start_bot: StartBot, come_back: Callable[[], None],
    tmp_path: Path, journal: Path,
) -> None:  # fmt: skip
    bot = start_bot(MANY)
    assert bot.stdout
    growth, queued = map(int, bot.stdout.readline().split())
    said = history(tmp_path)
    p99 = percentile(said, 0.99)
    size = sum(path.stat().st_size for path in journal.glob("*/*/*.jsonl"))
    print(f"RSS grew {growth / 1e6:.1f} MB, {size / 1e6:.1f} MB on disk, p99 {p99 * 1e6:.0f} us")
    assert queued == 50_001
    assert growth < 40_000_000
    assert p99 < 0.01

    come_back()
    start = time.monotonic()
    assert finish(bot) == [0, 50_001, 0]
    print(f"sent within {time.monotonic() - start:.1f} s of its return")
    events = destination.events()
    assert len(events) == len({event.event_id for event in events}) == 50_001
    assert by_sender(events) == by_sender(said)
    assert not list(journal.glob("*/*"))
