"""Worker processes under the bench's control, and where the partitions stand."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import psycopg2

from bench.contest import end
from bench.contestant import PYTHON, assigned
from bench.ground import Ground

_READY_SECONDS = 90.0
_LINES = "SELECT partition, next_position FROM ingest_offset"


class Workers:
    """Starts and ends workers on one topic and database."""

    def __init__(self, ground: Ground, topic: str, url: str, batch_seconds: float) -> None:
        self._folder = ground.folder / "runs" / f"{topic}-{time.time_ns()}"
        self._folder.mkdir(parents=True)
        self._environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": ground.bootstrap_servers,
            "DATABASE_URL": url,
            "INTENTLOOP_TOPIC": topic,
            "INTENTLOOP_GROUP": self._folder.name,
            "BATCH_SECONDS": str(batch_seconds),
            "FALLBACK_DIR": str(self._folder / "fallback"),
        }
        self.running: list[subprocess.Popen[bytes]] = []
        self._started = 0

    def start(self, *, wait: bool = True) -> subprocess.Popen[bytes]:
        """Start one more; wait until it has its partitions."""
        log = self._folder / f"{self._started}.log"
        self._started += 1
        with log.open("wb") as stream:
            worker = subprocess.Popen(
                [PYTHON, "-m", "intentloop_cli", "worker"],
                env=self._environment,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        self.running.append(worker)
        if wait:
            wait_for(lambda: assigned(log.read_text(errors="replace")), _READY_SECONDS, str(log))
        return worker

    def stop(self, worker: subprocess.Popen[bytes]) -> None:
        """End one in order."""
        worker.send_signal(signal.SIGTERM)
        worker.wait(30)
        self.running.remove(worker)

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        """End one as a crash would."""
        worker.kill()
        worker.wait(10)
        self.running.remove(worker)

    def end(self) -> None:
        """End all."""
        end(self.running)
        self.running.clear()


@contextmanager
def workers(ground: Ground, topic: str, url: str, batch_seconds: float) -> Iterator[Workers]:
    """Yield workers, none running yet; all are ended at the end."""
    crew = Workers(ground, topic, url, batch_seconds)
    try:
        yield crew
    finally:
        crew.end()


class Sight(NamedTuple):
    """What was seen of a partition: at `seen_at`, epoch seconds, all below was visible."""

    seen_at: float
    partition: int
    next_position: int


class Poller:
    """Looks every few milliseconds how far each partition is stored, on a thread of its own.

    The row of `ingest_offset` is committed with the events below its position. The time is taken
    after the answer, so nothing is ever seen too early.
    """

    def __init__(self, url: str, period_seconds: float) -> None:
        self.sights: list[Sight] = []
        self._period = period_seconds
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Poller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def stored(self) -> int:
        """Return the sum of all positions seen last."""
        last = {sight.partition: sight.next_position for sight in list(self.sights)}
        return sum(last.values())

    def _run(self) -> None:
        connection = psycopg2.connect(self._url)
        connection.autocommit = True
        last: dict[int, int] = {}
        with connection.cursor() as cursor:
            while not self._stop.wait(self._period):
                cursor.execute(_LINES)
                rows = cursor.fetchall()
                now = time.time()
                for partition, position in rows:
                    if last.get(partition) != position:
                        last[partition] = position
                        self.sights.append(Sight(now, partition, position))
        connection.close()


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until a condition holds. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)
