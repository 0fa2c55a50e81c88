"""The stage of a fault: traffic, workers, and the oracle's judgement at the end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from intentloop_cli.reconcile import reconcile
from intentloop_schemas import TopicPartition as Partition
from intentloop_schemas.kafka import KafkaSettings
from support import tables
from support.bot import Bot, p99
from support.oracle import Client, History, Verdict, accounted, endless, judge, recovery_seconds
from support.processes import StartWorker, Worker, segments
from support.recompute import Range
from support.topic_reader import log_end
from support.traffic import Message, hostile_traffic

RECOVERY_SECONDS = 10.0
LOG_SECONDS = 0.01
"""What 99 of 100 calls of log() may take at the most, whatever is away."""
PACE = 300.0
BOT_PACE = 100.0
StartBot = Callable[[str, float, str, Mapping[str, str]], Bot]
SUPERVISED = {"INTENTLOOP_INSTANCE_ID": "supervised"}
"""A supervisor starts it again under the same name, so that nobody waits for the dead one."""
SOON = {"BATCH_SECONDS": "2"}
"""The events of a bot are new, so a worker waits for the age of the last batch."""


@dataclass
class Scene:
    """One topic, one database, one fallback folder; what happens there is up to the test."""

    servers: str
    topic: str
    url: str
    fallback: Path
    history: History
    start_worker: StartWorker
    eventually: Any
    start_bot: StartBot
    figure: Callable[[str, object], None]
    """Records a figure of the scenario."""
    seed: int = 1
    clients: list[Client] = field(default_factory=list)
    bots: list[Bot] = field(default_factory=list)
    lost_for_now: list[Range] = field(default_factory=list)
    """What a worker went past because Kafka no longer had it, and a spool brings back."""

    def traffic(
        self,
        messages: Iterable[Message] | None = None,
        *,
        pace: float = PACE,
        life: int = 0,
    ) -> Client:
        """Start a client that sends hostile traffic, or what is given, until the end."""
        client = Client(
            self.servers, self.topic, messages or self.hostile(), self.history, pace, life
        )
        self.clients.append(client)
        return client.start()

    def bot(self, *, pace: float = BOT_PACE, change: str = "", **environment: str) -> Bot:
        """Start a chatbot that talks until the end, and wait for its first words."""
        bot = self.start_bot(f"bot-{len(self.bots)}", pace, change, environment)
        self.bots.append(bot)
        self.eventually(lambda: bot.has_begun, 60, "the bot talks")
        return bot

    def says_quickly(self, bot: Bot, since: float) -> None:
        """Since then, while the fault lasted, no call of log() held the bot up."""
        said = [one for one in bot.said() if one.at >= since]
        slowest = p99(said)
        self.figure("log_p99_ms", round(slowest * 1e3, 3))
        assert len(said) > BOT_PACE
        assert slowest < LOG_SECONDS * crowding()

    def hostile(self) -> Iterable[Message]:
        """Return endless traffic, ten minutes old, so that batches are stored at once."""
        start = int(time.time() * 1000) - 600_000
        seed = self.seed * 1_000
        return endless(lambda n: hostile_traffic(1_000, seed + n, start + n * 34_000))

    def begins(self, worker: Worker) -> None:
        """Wait until a worker has partitions to read."""
        self.eventually(lambda: worker.says('"assigned"'), 90, "the worker has partitions")

    def flows(self, more: int = 100, timeout: float = 90) -> None:
        """Wait until so many more records are stored."""
        wanted = self.stored() + more
        self.eventually(lambda: self.stored() >= wanted, timeout, f"{wanted} records are stored")

    def catches_up(self, timeout: float = 90) -> None:
        """Wait until what is stored follows closely what was accepted."""
        near = PACE / 2
        self.eventually(
            lambda: self.history.accepted - self.stored() < near, timeout, "no backlog is left"
        )

    def stored(self) -> int:
        """Return how many records the store accounts for; 0 while it is away."""
        return accounted(self.url)

    def accepted(self) -> int:
        """Return how many events were accepted so far, without what may be lost with a bot."""
        said = (one for bot in self.bots for one in bot.said() if not bot.may_lose(one))
        return self.history.accepted + sum(one.event is not None for one in said)

    def recovers(self, limit: float = RECOVERY_SECONDS, *, since: float | None = None) -> None:
        """The fault is over, now or `since`: all accepted so far is stored within the limit."""
        since, wanted = since or time.monotonic(), self.accepted()
        seconds = recovery_seconds(self.eventually, self.url, wanted, since)
        self.figure("recovery_seconds", round(seconds, 2))
        allowed = limit * crowding()
        if allowed > limit:
            self.figure("load_per_core", round(crowding(), 1))
        assert seconds < allowed, f"recovered after {seconds:.1f} s only, not {allowed:.0f} s"

    def judge(self) -> Verdict:
        """Let the oracle judge what is there now."""
        return judge(
            self.history,
            self.bots,
            self.servers,
            self.topic,
            self.url,
            self.fallback,
            self.lost_for_now,
        )

    def takes_again(self, timeout: float = 60) -> None:
        """Wait until the broker accepts records again."""
        before = self.history.accepted
        self.eventually(lambda: self.history.accepted > before, timeout, "Kafka takes records")

    def ends_well(self, *, in_order: bool = True) -> Verdict:
        """Stop the traffic, wait until all is stored, and let the oracle judge."""
        for client in self.clients:
            client.stop()
            client.finish()
        for bot in self.bots:
            if bot.process.poll() is None:
                assert bot.finish()["unsettled"] == 0
        sent = max(self.history.accepted, log_end(self.servers, self.topic))
        self.eventually(lambda: self.stored() >= sent, 90, f"all {sent} records are accounted for")
        self.eventually(lambda: not self.segments(), 20, "no file waits in a spool")
        verdict = self.judge()
        for name in ("accepted", "lost", "duplicated", "drift", "inversions"):
            self.figure(name, getattr(verdict, name))
        verdict.require_exactly_once(in_order=in_order)
        self._adds_up(verdict.accepted)
        return verdict

    def _adds_up(self, accepted: int) -> None:
        """The operator's reconciliation comes to what the oracle says."""
        kafka = KafkaSettings(bootstrap_servers=self.servers)
        accounts = reconcile(kafka, self.url, self.fallback, self.topic)
        assert [problem for one in accounts for problem in one.problems] == []
        assert sum(one.stored + one.duplicates + one.rejected for one in accounts) == accepted
        assert sum(one.spooled + one.lost + one.open for one in accounts) == 0

    def is_frozen(self, worker: Worker) -> bool:
        """Tell whether a worker has been stopped by SIGSTOP."""
        return psutil.Process(worker.process.pid).status() == psutil.STATUS_STOPPED

    def wakes(self, worker: Worker) -> None:
        """Let a frozen worker go on."""
        worker.process.send_signal(signal.SIGCONT)

    def now(self) -> int:
        """Return the time, epoch ms."""
        return time.time_ns() // 1_000_000

    def segments(self) -> list[Path]:
        """Return the files that wait in all spools."""
        return segments(self.fallback)

    def ended(self, worker: Worker, status: int = -9, timeout: float = 90) -> None:
        """Wait until a worker has ended with this status."""
        assert worker.process.wait(timeout) == status

    def lasts(self, seconds: float) -> None:
        """Let the fault last; nothing is waited for."""
        time.sleep(seconds)

    def deletes_records(self, before: Mapping[Partition, int]) -> None:
        """Let Kafka delete what lies below some positions, as retention does."""
        admin = AdminClient({"bootstrap.servers": self.servers})
        places = [TopicPartition(p.topic, p.partition, at) for p, at in before.items()]
        for future in admin.delete_records(places).values():
            future.result(20)

    def goes_past(self, deleted: Mapping[Partition, int]) -> None:
        """Wait until every partition has gone on behind what Kafka deleted of it."""
        ends = {partition.partition: end for partition, end in deleted.items()}
        at = "SELECT partition, next_position FROM ingest_offset"
        self.eventually(
            lambda: all(end <= dict(tables.query(self.url, at))[p] for p, end in ends.items()),
            60,
            "the loss is recorded",
        )
        losses = tables.query(
            self.url, "SELECT partition, first_position, next_position FROM ingest_loss"
        )
        self.lost_for_now = [Range(*loss) for loss in losses]
        assert {loss.partition: loss.next_position for loss in self.lost_for_now} == ends

    def acknowledged(self) -> dict[Partition, int]:
        """Return up to where Kafka was told that records are safe."""
        admin = AdminClient({"bootstrap.servers": self.servers})
        group = f"group-{self.topic}"
        request = [ConsumerGroupTopicPartitions(group)]
        answer = admin.list_consumer_group_offsets(request)[group].result(20)
        return {Partition(p.topic, "", p.partition): p.offset for p in answer.topic_partitions}

    def starts_spooling(self, segments: int = 1) -> None:
        """Wait until files wait in the spools."""
        self.eventually(lambda: len(self.segments()) >= segments, 60, "batches go to the spool")


def crowding() -> float:
    """Return how many times longer things take because others use this machine too; 1 or more."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


@contextmanager
def database_away(url: str) -> Iterator[None]:
    """A database that refuses new sessions and has ended the old ones."""
    server, name = url.rsplit("/", 1)
    tables.query(f"{server}/postgres", f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    end_sessions(url)
    try:
        yield
    finally:
        tables.query(f"{server}/postgres", f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def end_sessions(url: str) -> None:
    """End every session of a database."""
    server, name = url.rsplit("/", 1)
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    tables.query(f"{server}/postgres", end, name)
