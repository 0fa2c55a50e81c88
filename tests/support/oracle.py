"""The oracle: what clients were promised, against what became of it.

Each client writes a history of what Kafka has acknowledged, and syncs it to the disk before it
counts. In the end every record of the history must be stored once, or be a dead letter; window
sums are recomputed from the history alone.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from base64 import b64decode, b64encode
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
from confluent_kafka import Producer

from support import tables
from support.bot import Bot, Delivered, delivered
from support.recompute import Expected, LogRecord, Range, recompute
from support.topic_reader import read_topic
from support.traffic import EXPECT, Message

_SYNC_SECONDS = 0.02
_LIFE = 1_000
"""Partition numbers of a topic's next life begin here: a recreated topic is another log."""


class History:
    """What was accepted, in the order of acceptance; `accepted` counts what is on disk."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab+")
        self._turn = threading.Lock()
        self._written = 0
        self.order = itertools.count()
        """Numbers what is sent, by whatever client."""
        self.accepted = 0

    def add(self, sent: int, message: Message, partition: int, offset: int) -> None:
        """Add a record that Kafka has acknowledged; it counts after the next `sync`."""
        line = {
            "sent": sent,
            "partition": partition,
            "offset": offset,
            "timestamp": message.timestamp,
            "value": None if message.value is None else b64encode(message.value).decode(),
            "expect": message.expect.decode(),
            "key": message.key.decode(),
        }
        with self._turn:
            self._file.write(json.dumps(line).encode() + b"\n")
            self._written += 1

    def sync(self) -> None:
        """Bring what was added to the disk."""
        with self._turn:
            self._file.flush()
            os.fsync(self._file.fileno())
            self.accepted = self._written

    def read(self) -> list[dict[str, Any]]:
        """Return every line, as it stands on disk."""
        self.sync()
        self._file.seek(0)
        return [json.loads(line) for line in self._file]


class Client:
    """Sends messages at a steady pace from a thread of its own, and keeps their history."""

    def __init__(
        self,
        servers: str,
        topic: str,
        messages: Iterable[Message],
        history: History,
        pace: float,
        life: int,
    ) -> None:
        self._topic = topic
        self._messages = iter(messages)
        self._history = history
        self._pause = 1 / pace
        self._stop = threading.Event()
        self._life = life
        self._producer = Producer(
            {
                "bootstrap.servers": servers,
                "enable.idempotence": True,
                "linger.ms": 5,
                "compression.type": "lz4",
                "message.max.bytes": 100_000_000,
                "topic.metadata.refresh.interval.ms": 1_000,
                "reconnect.backoff.max.ms": 500,
                "socket.timeout.ms": 5_000,
                "log_level": 0,
            }
        )
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Client:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Send no more; what was sent is still brought to Kafka."""
        self._stop.set()

    def finish(self, timeout: float = 60) -> int:
        """Wait until Kafka has every message, and return how many records there are by now."""
        self._thread.join(timeout)
        assert not self._thread.is_alive(), "there is still something to send"
        assert self._producer.flush(timeout) == 0, "Kafka did not take everything"
        self._history.sync()
        return self._history.accepted

    def send(self, message: Message) -> None:
        """Send one message now."""
        sent = next(self._history.order)

        def settled(error: Any, record: Any) -> None:
            assert error is None, f"not accepted: {error}"
            self._history.add(
                sent, message, record.partition() + self._life * _LIFE, record.offset()
            )

        self._producer.produce(
            self._topic,
            key=message.key,
            value=message.value,
            timestamp=message.timestamp,
            headers=[(EXPECT, message.expect)],
            on_delivery=settled,
        )

    def _run(self) -> None:
        due = synced = time.monotonic()
        for message in self._messages:
            if self._stop.is_set():
                return
            self.send(message)
            due += self._pause
            self._producer.poll(max(0.0, due - time.monotonic()))
            if time.monotonic() - synced > _SYNC_SECONDS:
                self._history.sync()
                synced = time.monotonic()


@dataclass
class Verdict:
    """What the oracle finds; everything but the number accepted should be zero."""

    accepted: int
    lost: int = 0
    """Accepted, and neither stored nor among the dead letters."""
    duplicated: int = 0
    """Stored more often than once, or stored though nobody sent it."""
    drift: int = 0
    """Windows and hours whose integers are not those of the history."""
    inversions: int = 0
    """Records that overtook an earlier one of the same sender, in the log or into the store."""
    unaccounted: int = 0
    """Difference between accepted and stored + duplicates + rejected."""
    waiting: int = 0
    """Segments that still wait in a spool."""
    last_moment: int = 0
    """Accepted by log() in the last moment before its bot was killed, and gone; see bot.py."""
    details: list[str] = field(default_factory=list)

    def require_exactly_once(self, *, in_order: bool = True) -> None:
        """Raise AssertionError unless all is well; the order may not matter."""
        wanted = Verdict(self.accepted, last_moment=self.last_moment)
        wanted.inversions = 0 if in_order else self.inversions
        assert asdict(self) == asdict(wanted), self


def judge(
    history: History,
    bots: Sequence[Bot],
    servers: str,
    topic: str,
    url: str,
    fallback: Path,
    behind: Sequence[Range] = (),
) -> Verdict:
    """Compare everything that was accepted with everything that became of it.

    What lies in `behind` was lost to Kafka in its turn and came back with a spool.
    """
    lines = history.read()
    from_bots = delivered(bots, servers, topic) if bots else Delivered()
    log = [*_log(lines), *from_bots.records]
    in_order = sorted(log, key=lambda record: (record.partition, record.offset))
    expected = recompute(in_order, behind=behind)
    verdict = Verdict(len(log) + from_bots.lost, lost=from_bots.lost, details=from_bots.details)
    verdict.duplicated += from_bots.unknown
    verdict.last_moment = from_bots.last_moment
    _examples(verdict, expected, url)
    _letters(verdict, expected, servers, topic, fallback)
    _windows(verdict, expected, url)
    verdict.inversions = _overtaken(lines) + _stored_out_of_order(url) + from_bots.overtaken
    verdict.unaccounted = len(log) - tables.accounted(url)
    verdict.waiting = len(list(fallback.glob("*/*.jsonl")))
    return verdict


def accounted(url: str) -> int:
    """Return how many records the store accounts for; 0 while it is away."""
    try:
        return tables.accounted(url)
    except psycopg2.Error:
        return 0


def recovery_seconds(
    eventually: Any, url: str, accepted: int, since: float, timeout: float = 90.0
) -> float:
    """Wait until all that was accepted by then is stored; return the seconds since `since`."""
    stored: Callable[[], bool] = lambda: accounted(url) >= accepted  # noqa: E731 - read as a word
    eventually(stored, timeout, f"all {accepted} records are accounted for")
    return time.monotonic() - since


def _log(lines: Iterable[dict[str, Any]]) -> list[LogRecord]:
    return [
        LogRecord(
            line["partition"],
            line["offset"],
            line["timestamp"],
            None if line["value"] is None else b64decode(line["value"]),
            line["expect"].encode(),
        )
        for line in lines
    ]


def _examples(verdict: Verdict, expected: Expected, url: str) -> None:
    stored = Counter(row[0] for row in tables.query(url, 'SELECT id FROM "Example"'))
    missing = expected.examples.keys() - stored.keys()
    verdict.lost += len(missing)
    verdict.duplicated += sum((stored - Counter(expected.examples.keys())).values())
    contents = tables.examples(url)
    wrong = [
        each
        for each in expected.examples.keys() & contents.keys()
        if contents[each] != expected.examples[each]
    ]
    verdict.details += [f"missing {each}" for each in sorted(missing)[:3]]
    verdict.details += [f"differs {each}" for each in sorted(wrong)[:3]]


def _letters(
    verdict: Verdict, expected: Expected, servers: str, topic: str, fallback: Path
) -> None:
    """Dead letters come at least once; what counts is that each is there whole, and no other."""
    wanted = {(p % _LIFE, offset, *what) for (p, offset), what in expected.dead.items()}
    found = {_letter(record, fallback) for record in read_topic(servers, f"{topic}.dlq")}
    verdict.lost += len(wanted - found)
    verdict.duplicated += len(found - wanted)
    verdict.details += [f"no dead letter: {str(each)[:300]}" for each in list(wanted - found)[:3]]
    verdict.details += [f"dead letter: {str(each)[:300]}" for each in list(found - wanted)[:3]]


def _letter(record: Any, fallback: Path) -> tuple[int, int, bytes, bytes | None]:
    """Return where a dead record stood, why it died, and its bytes, from the quarantine or here."""
    headers = dict(record.headers())
    value = record.value()
    if name := headers.get("dlq.quarantine"):
        value = (fallback / "quarantine" / name.decode()).read_bytes()
    return int(headers["dlq.partition"]), int(headers["dlq.offset"]), headers["dlq.reason"], value


def _windows(verdict: Verdict, expected: Expected, url: str) -> None:
    for table, wanted in (
        ("intent_window_stats", expected.windows),
        ("intent_hourly_stats", expected.hours),
    ):
        found = tables.statistics(url, table)
        keys = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
        verdict.drift += len(keys)
        verdict.details += [f"{k}: {found.get(k)} not {wanted.get(k)}" for k in keys[:2]]


def _overtaken(lines: Iterable[dict[str, Any]]) -> int:
    """Count neighbours of one sender whose places in the log run against the order sent."""
    places: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for line in lines:
        places[line["key"]].append((line["partition"], line["offset"], line["sent"]))
    return sum(
        later[2] < earlier[2]
        for sender in places.values()
        for earlier, later in itertools.pairwise(sorted(sender))
        if earlier[0] == later[0]
    )


def _stored_out_of_order(url: str) -> int:
    """Count ranges that were committed before one that lies below them in the same partition."""
    sql = """
        SELECT count(*) FROM (
          SELECT committed_at, lag(committed_at) OVER (
            PARTITION BY topic_id, partition ORDER BY first_position) AS before
          FROM conversation_batch) AS ranges
        WHERE committed_at < before
    """
    return int(tables.query(url, sql)[0][0]) + len(tables.untiled(url))


def endless(make: Callable[[int], Iterator[Message]]) -> Iterator[Message]:
    """Yield the messages of make(0), make(1), ... for as long as somebody asks."""
    return itertools.chain.from_iterable(map(make, itertools.count()))
