"""A soak: the highest load that this machine carries, for minutes, and the memory it takes.

A chatbot logs as fast as the store follows: never more than a window of events is on its way, so
what comes through is what logger, Kafka, worker and Postgres together can do on this machine.
`make soak` writes the figures and the plot into the documents.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import psycopg2

from bench.document import circumstances, fill, table
from bench.ground import new_database
from intentloop_devstack import local_kafka, local_postgres
from intentloop_devstack.kafka_jars import VERSION as KAFKA
from intentloop_schemas.kafka import KafkaSettings
from intentloop_stream.topics import create_topics

TOPIC = "soak"
WINDOW = 50_000
"""How many events may be on their way."""
LOOK_SECONDS = 1.0
PATIENCE_SECONDS = 120.0
_SETTLED = 0.25
"""The share of the time after which memory should not grow any more."""
_MOST_GROWTH = 0.1
_SAMPLE = 10_000
_MEGABYTE = 1e6


@dataclass
class Run:
    """What was seen at each look."""

    seconds: list[float] = field(default_factory=list)
    stored: list[int] = field(default_factory=list)
    on_the_way: list[int] = field(default_factory=list)
    worker_bytes: list[int] = field(default_factory=list)
    bot_bytes: list[int] = field(default_factory=list)
    log_p99: float = 0.0

    def rates(self) -> list[float]:
        """Return the events a second that came through between looks."""
        steps = zip(self.seconds, self.seconds[1:], self.stored, self.stored[1:], strict=False)
        return [(after - before) / (end - start) for start, end, before, after in steps]


def main() -> None:
    """Run the soak and write what came of it. Status 1 when memory was not bounded."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--folder", type=Path, default=Path("var/soak"))
    parser.add_argument("--document", type=Path, help="where the figures go")
    parser.add_argument("--plot", type=Path, help="where the plot goes, an SVG")
    options = parser.parse_args()
    run, postgres = soak(options.folder, options.seconds)
    figures = report(run, postgres)
    sys.stdout.write(figures + "\n")
    if options.plot:
        plot(run, options.plot)
    if options.document:
        fill(options.document, "soak", figures)
    if growth(run.worker_bytes) > _MOST_GROWTH or growth(run.bot_bytes) > _MOST_GROWTH:
        sys.exit("memory grew by more than a tenth after the first quarter")


def soak(folder: Path, seconds: float) -> tuple[Run, str]:
    """Run the soak; return what was seen, and the version of Postgres."""
    with (
        local_kafka(folder, environ=os.environ, fresh=True) as kafka,
        local_postgres(folder, environ=os.environ, fresh=True) as postgres,
    ):
        create_topics(KafkaSettings(bootstrap_servers=kafka.bootstrap_servers), TOPIC)
        with new_database(postgres.url, "soak") as url:
            environment = {
                "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
                "DATABASE_URL": url,
                "INTENTLOOP_TOPIC": TOPIC,
                "BATCH_SECONDS": "2",
                "FALLBACK_DIR": str(folder / "fallback"),
                "INTENTLOOP_JOURNAL_DIR": str(folder / "journal"),
            }
            with (folder / "worker.log").open("wb") as log:
                worker = subprocess.Popen(
                    [sys.executable, "-m", "intentloop_cli", "worker"],
                    env={**os.environ, **environment},
                    stderr=log,
                )
                try:
                    run = _watch(worker, environment, url, seconds)
                finally:
                    worker.terminate()
                    worker.wait(20)
            version = str(_ask(url, "SHOW server_version")).split()[0]
        return run, version


def _watch(
    worker: subprocess.Popen[bytes], environment: dict[str, str], url: str, seconds: float
) -> Run:
    """Let a bot talk and look at both processes until the time is up and all is stored."""
    context = multiprocessing.get_context("spawn")
    allowed, said = (context.Value("q", start, lock=False) for start in (WINDOW, 0))
    answers: Any = context.Queue()
    arguments = (environment, allowed, said, answers)
    bot = context.Process(target=talk, args=arguments, daemon=True)
    bot.start()
    run = Run()
    # What is measured begins when the first events have come through.
    _wait_until(lambda: _stored(url) > 0)
    started = time.monotonic()
    while (elapsed := time.monotonic() - started) < seconds:
        stored = _stored(url)
        allowed.value = stored + WINDOW
        run.seconds.append(elapsed)
        run.stored.append(stored)
        run.on_the_way.append(said.value - stored)
        run.worker_bytes.append(psutil.Process(worker.pid).memory_info().rss)
        run.bot_bytes.append(psutil.Process(bot.pid).memory_info().rss)
        time.sleep(LOOK_SECONDS)
    allowed.value = -1
    run.log_p99, delivered = answers.get(timeout=PATIENCE_SECONDS)
    bot.join(PATIENCE_SECONDS)
    _wait_until(lambda: _stored(url) >= delivered)
    _require(url, delivered)
    return run


def talk(environment: dict[str, str], allowed: Any, said: Any, answers: Any) -> None:
    """Be the bot: log as long as there are events allowed, then say what log() took."""
    os.environ.update(environment)
    from intentloop_producer import ConversationLogger

    chance = random.Random(1)
    logger = ConversationLogger()
    costs: list[float] = []
    number = 0
    while (most := allowed.value) >= 0:
        if number >= most:
            time.sleep(0.001)
            continue
        before = time.perf_counter()
        accepted = logger.log(
            phone_number=f"+1555{number % 5_000:07d}",
            message_text="where is my order, it was due yesterday",
            intent=f"intent_{number % 40}",
            confidence=chance.random(),
            current_step="main_menu",
        )
        if not accepted:
            # The queue is full: a bot would go on, and the event would be counted as dropped.
            time.sleep(0.001)
            continue
        cost = time.perf_counter() - before
        number += 1
        # A reservoir: each call has the same chance to be in the sample.
        if len(costs) < _SAMPLE:
            costs.append(cost)
        elif (place := chance.randrange(number)) < _SAMPLE:
            costs[place] = cost
        said.value = number
    logger.flush(PATIENCE_SECONDS)
    answers.put((sorted(costs)[int(len(costs) * 0.99)], logger.counts.delivered))
    logger.close()


def growth(memory: list[int]) -> float:
    """Return by which share the last quarter needs more memory than the second."""
    quarter = max(1, int(len(memory) * _SETTLED))
    return median(memory[-quarter:]) / median(memory[quarter : 2 * quarter]) - 1


def report(run: Run, postgres: str) -> str:
    """Return the figures as Markdown."""
    rows = [
        ["events stored, each once", f"{run.stored[-1]:,}"],
        ["seconds", f"{run.seconds[-1]:.0f}"],
        ["events a second, median", f"{median(run.rates()):,.0f}"],
        ["events on their way, at most", f"{max(run.on_the_way):,}"],
        ["log() p99", f"{run.log_p99 * 1e6:.0f} µs"],
    ]
    for name, memory in (("worker", run.worker_bytes), ("bot with logger", run.bot_bytes)):
        rows += [
            [f"memory of the {name}, at most", f"{max(memory) / _MEGABYTE:.0f} MB"],
            [f"growth of the {name}, last quarter to second", f"{growth(memory):+.1%}"],
        ]
    return f"{circumstances(Kafka=KAFKA, Postgres=postgres)}\n\n{table(('', ''), rows)}"


def plot(run: Run, path: Path) -> None:
    """Draw memory, throughput and what is on its way over time."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    # Text stays text, and the same figures give the same file.
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "soak"}
    figure, (memory, rate, lag) = pyplot.subplots(3, 1, sharex=True, figsize=(8, 7))
    for name, values in (("worker", run.worker_bytes), ("bot with logger", run.bot_bytes)):
        memory.plot(run.seconds, [value / _MEGABYTE for value in values], label=name)
    memory.set(ylabel="memory, MB", ylim=(0, None))
    memory.legend(loc="lower right")
    rate.plot(run.seconds[1:], run.rates())
    rate.set(ylabel="events stored a second", ylim=(0, None))
    lag.plot(run.seconds, run.on_the_way)
    lag.set(ylabel="events on their way", xlabel="seconds", ylim=(0, None))
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _require(url: str, delivered: int) -> None:
    """Raise RuntimeError unless every event is there once."""
    found = _ask(url, 'SELECT count(*) FROM "Example"')
    gaps = _ask(url, "SELECT count(*) FROM conversation_batch_gaps")
    if (found, gaps) != (delivered, 0):
        raise RuntimeError(f"{delivered} events became {found} rows with {gaps} gaps")


def _stored(url: str) -> int:
    return int(_ask(url, "SELECT coalesce(sum(next_position), 0) FROM ingest_offset"))


def _ask(url: str, question: str) -> Any:
    session = psycopg2.connect(url)
    try:
        with session.cursor() as cursor:
            cursor.execute(question)
            return (cursor.fetchone() or (None,))[0]
    finally:
        session.close()


def _wait_until(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {PATIENCE_SECONDS:.0f} s")
        time.sleep(0.05)


if __name__ == "__main__":
    main()
