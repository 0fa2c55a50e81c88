"""A chatbot in a process of its own that talks all the time, and keeps a history of its own.

The history says what `log()` accepted and how long each call took. It is written after the call, so
a bot that is killed may have had one more accepted than it says.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Message

from support.recompute import LogRecord
from support.topic_reader import read_topic
from support.traffic import VALID

LAST_MOMENT_SECONDS = 0.5
"""What a bot logged so shortly before it was killed may not have reached its journal."""

SCRIPT = """
import json, os, random, resource, signal, sys, time
from intentloop_producer import ConversationLogger

name, history, pace, change = sys.argv[1:]
exec(change)
logger = ConversationLogger()
out = os.open(history, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
is_over = []
signal.signal(signal.SIGTERM, lambda *_: is_over.append(True))
chance = random.Random(name)
due = synced = time.monotonic()
number = 0
while not is_over:
    event = {
        "phoneNumber": f"+1666{number % 7:07d}",
        "messageText": f"where is order {number}?",
        "intent": chance.choice(["track_order", "cancel_order", "nlu_fallback"]),
        "confidence": round(chance.random(), 6),
        "timestamp": time.time_ns() // 1_000_000,
        "eventId": f"{name}-{number}",
    }
    at = time.monotonic()
    accepted = logger.log(
        phone_number=event["phoneNumber"], message_text=event["messageText"],
        intent=event["intent"], confidence=event["confidence"], timestamp=event["timestamp"],
        event_id=event["eventId"],
    )
    cost = time.monotonic() - at
    line = {"number": number, "at": at, "cost": cost, "event": event if accepted else None}
    os.write(out, json.dumps(line).encode() + b"\\n")
    number += 1
    if time.monotonic() - synced > 0.02:
        os.fsync(out)
        synced = time.monotonic()
    due = max(due + 1 / float(pace), time.monotonic() - 0.1)
    time.sleep(max(0.0, due - time.monotonic()))
unsettled = logger.flush(60)
logger.close()
counts = logger.counts
print(json.dumps({"unsettled": unsettled, **{f: getattr(counts, f) for f in counts.__slots__}}))
"""


class Said(NamedTuple):
    """One call of log(): when, how long it took, in seconds, and the event if it was accepted."""

    number: int
    at: float
    cost: float
    event: dict[str, Any] | None


class Bot:
    """A chatbot process. `change` is code that it runs before it makes its logger."""

    def __init__(
        self, name: str, environment: Mapping[str, str], folder: Path, pace: float, change: str
    ) -> None:
        self.name = name
        self.killed_at = float("inf")
        self._history = folder / f"{name}.jsonl"
        self._said: list[Said] = []
        self._read_to = 0
        self._log = (folder / f"{name}.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, name, str(self._history), str(pace), change],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def kill(self) -> None:
        """End it as a crash would."""
        self.killed_at = time.monotonic()
        self.process.kill()
        self.process.wait(10)

    def finish(self, timeout: float = 120) -> dict[str, int]:
        """Let it deliver what it has and end; return its counts."""
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=timeout)
        assert self.process.returncode == 0, f"{self.name} ended with {self.process.returncode}"
        counts: dict[str, int] = json.loads(output)
        return counts

    def may_lose(self, said: Said) -> bool:
        """Tell whether it was killed so shortly after a call that the event may be gone."""
        return self.killed_at - said.at < LAST_MOMENT_SECONDS

    def said(self) -> list[Said]:
        """Return its calls of log(), oldest first."""
        with self._history.open("rb") as file:
            file.seek(self._read_to)
            for line in file:
                if line.endswith(b"\n"):
                    self._read_to += len(line)
                    self._said.append(Said(**json.loads(line)))
        return self._said

    @property
    def has_begun(self) -> bool:
        """Whether it has logged anything."""
        return self._history.exists()

    def close(self) -> None:
        """Kill it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self._log.close()


@contextmanager
def bots() -> Iterator[list[Bot]]:
    """Give a list whose bots are killed at the end."""
    started: list[Bot] = []
    try:
        yield started
    finally:
        for bot in started:
            bot.close()


def p99(said: Iterable[Said]) -> float:
    """Return the 99th percentile of what a call took, in seconds."""
    costs = sorted(one.cost for one in said)
    return costs[int(len(costs) * 0.99)]


@dataclass
class Delivered:
    """What bots were promised, against what the log holds."""

    records: list[LogRecord] = field(default_factory=list)
    """All that bots sent, resent copies too."""
    lost: int = 0
    last_moment: int = 0
    """Accepted so shortly before the bot was killed that it may be missing, and missing."""
    unknown: int = 0
    """In the log, though no bot sent it so."""
    overtaken: int = 0
    details: list[str] = field(default_factory=list)


def delivered(bots: Sequence[Bot], servers: str, topic: str) -> Delivered:
    """Compare the histories of bots with the log."""
    result = Delivered()
    first: dict[str, Message] = {}
    for message in read_topic(servers, topic):
        if not (message.key() or b"").startswith(b"+1666"):
            continue
        result.records.append(
            LogRecord(
                message.partition(),
                message.offset(),
                message.timestamp()[1],
                message.value(),
                VALID,
            )
        )
        first.setdefault(json.loads(message.value())["eventId"], message)
    for bot in bots:
        _compare(bot, first, result)
    _order(bots, first, result)
    return result


def _compare(bot: Bot, first: Mapping[str, Message], result: Delivered) -> None:
    said = bot.said()
    accepted = {one.event["eventId"]: one for one in said if one.event}
    for event_id, one in accepted.items():
        if event_id in first:
            if not _holds(json.loads(first[event_id].value()), one.event or {}):
                result.unknown += 1
                result.details.append(f"differs {event_id}")
        elif bot.may_lose(one):
            result.last_moment += 1
        else:
            result.lost += 1
            result.details.append(f"missing {event_id}, said at {one.at}")
    unheard = f"{bot.name}-{len(said)}"
    mine = {event_id for event_id in first if event_id.rpartition("-")[0] == bot.name}
    result.unknown += len(mine - accepted.keys() - {unheard})


def _holds(found: Mapping[str, Any], said: Mapping[str, Any]) -> bool:
    return all(found.get(name) == value for name, value in said.items())


def _order(bots: Sequence[Bot], first: Mapping[str, Message], result: Delivered) -> None:
    """Count neighbours of one sender whose places in the log run against the order of the calls."""
    places: dict[bytes, list[tuple[int, float]]] = defaultdict(list)
    for bot in bots:
        for one in bot.said():
            message = first.get(one.event["eventId"]) if one.event else None
            if message is not None:
                places[message.key()].append((message.offset(), one.at))
    result.overtaken = sum(
        later[1] < earlier[1]
        for sender in places.values()
        for earlier, later in pairwise(sorted(sender))
    )
