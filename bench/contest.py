"""One run of one contestant: from reading its first record to its last commit, then the check."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

from bench.check import problems
from bench.contestant import Contestant, Prepared
from bench.expected import Expected
from bench.ground import Ground
from bench.usage import Usage

POLL_SECONDS = 0.1
STALL_SECONDS = 60.0
"""Nothing has moved for so long: it will not finish."""
STARTUP_SECONDS = 180.0
"""The same for one that does not read yet."""
_GRACE_SECONDS = 20.0
_TAIL = 400
# Small and cheap to ask, unlike the million rows; those are counted once the sums are complete.
_PROGRESS = """
SELECT coalesce(sum(n) FILTER (WHERE intent <> 'tick'), 0)::bigint, pg_relation_size('"Example"')
FROM intent_window_stats
"""
_COUNT = """
SELECT count(*) FROM "Example" WHERE intent <> 'tick' AND "datasetId" <> 'ds-filler'
"""


@dataclass
class Outcome:
    """What came of a run: without `seconds` it is unfinished, with `problems` it does not count."""

    events: int
    seconds: float | None = None
    """From the first record read to the last commit seen."""
    startup_seconds: float | None = None
    """From the start of the process to the first record read."""
    events_per_second: float | None = None
    cpu_us_per_event: float | None = None
    """User and system time of its processes, start-up left out."""
    peak_mb: float | None = None
    problems: list[str] = field(default_factory=list)


@dataclass
class Run:
    """What is needed to run a contestant, and where."""

    ground: Ground
    contestant: Contestant
    prepared: Prepared
    topic: str
    expected: Expected
    ticks: int

    def outcome(self, url: str) -> Outcome:
        """Run the contestant on an empty database until it has finished, and check its tables."""
        outcome = Outcome(len(self.expected.rows) - self.ticks)
        with self._processes(url) as (processes, logs):
            _Watch(self.contestant, processes, logs, outcome).until_finished(url)
        outcome.problems += problems(url, self.expected, hours=self.contestant.keeps_hours)
        return outcome

    @contextmanager
    def _processes(self, url: str) -> Iterator[tuple[list[subprocess.Popen[bytes]], list[Path]]]:
        group = f"{Path(url).name}-{time.time_ns()}"
        folder = self.ground.folder / "runs" / group
        folder.mkdir(parents=True)
        logs = [folder / f"{number}.log" for number in range(self.contestant.processes)]
        started: list[subprocess.Popen[bytes]] = []
        try:
            started.extend(self._start(log, url, group) for log in logs)
            yield started, logs
        finally:
            end(started)
            shutil.rmtree(folder / "fallback", ignore_errors=True)

    def _start(self, log: Path, url: str, group: str) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": self.ground.bootstrap_servers,
            "INTENTLOOP_TOPIC": self.topic,
            "INTENTLOOP_GROUP": group,
            "DATABASE_URL": url,
            "FALLBACK_DIR": str(log.parent / "fallback"),
            # The last few events would otherwise wait for their batch's age.
            "BATCH_SECONDS": "1",
            "PYTHONPATH": str(Path.cwd()),
            "BENCH_FOLDER": str(log.parent),
            **self.prepared.environment,
        }
        with log.open("wb") as stream:
            return subprocess.Popen(
                self.prepared.command,
                env=environment,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )


def end(processes: list[subprocess.Popen[bytes]]) -> None:
    """End processes with all their descendants: asked first, then killed."""
    for process in processes:
        _signal(process, signal.SIGTERM)
    for process in processes:
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _signal(process, signal.SIGKILL)
            process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """Signal the whole session that was started for a process."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


class _Watch:
    """Looks at the tables and at the processes until there is nothing more to expect."""

    def __init__(
        self,
        contestant: Contestant,
        processes: list[subprocess.Popen[bytes]],
        logs: list[Path],
        outcome: Outcome,
    ) -> None:
        self._contestant = contestant
        self._processes = processes
        self._logs = logs
        self._outcome = outcome
        self._usage = Usage(process.pid for process in processes)
        self._started_at = self._moved_at = time.time()
        self._progress = (0, 0)
        self._ready_at: float | None = None
        # When the last process began to read:
        self._done_before = 0
        self._cpu_before = 0.0

    def until_finished(self, url: str) -> None:
        """Fill in the outcome."""
        connection = psycopg2.connect(url)
        connection.autocommit = True
        with connection.cursor() as cursor:
            while not self._has_finished(cursor):
                time.sleep(POLL_SECONDS)
        connection.close()
        self._outcome.peak_mb = round(self._usage.peak_bytes / 1e6, 1)

    def _has_finished(self, cursor: Cursor) -> bool:
        has_ended = all(process.poll() is not None for process in self._processes)
        cursor.execute(_PROGRESS)
        progress = cursor.fetchone() or (0, 0)
        now = time.time()
        self._usage.look()
        self._look_whether_ready(progress[0])
        if self._is_complete(cursor, progress[0]):
            self._finish(now)
            return True
        if progress != self._progress:
            self._progress, self._moved_at = progress, now
        if has_ended or now - max(self._moved_at, self._ready_at or 0) > self._patience:
            self._give_up(has_ended=has_ended)
            return True
        return False

    @property
    def _patience(self) -> float:
        return STALL_SECONDS if self._ready_at else STARTUP_SECONDS

    def _look_whether_ready(self, done: int) -> None:
        if self._ready_at is not None:
            return
        self._cpu_before = self._usage.cpu_seconds
        logs = [log.read_text(errors="replace") for log in self._logs]
        times = [time for log in logs if (time := self._contestant.ready_at(log))]
        if len(times) == len(logs):
            self._ready_at, self._done_before = max(times), done

    def _is_complete(self, cursor: Cursor, done: int) -> bool:
        if done != self._outcome.events:
            return False
        cursor.execute(_COUNT)
        return bool(cursor.fetchone() == (self._outcome.events,))

    def _finish(self, now: float) -> None:
        outcome = self._outcome
        counted = outcome.events - self._done_before
        if self._ready_at is None or not counted:
            outcome.problems.append("it had finished before all its processes read")
            return
        seconds = now - self._ready_at
        spent = self._usage.cpu_seconds - self._cpu_before
        outcome.seconds = round(seconds, 3)
        outcome.startup_seconds = round(self._ready_at - self._started_at, 3)
        outcome.events_per_second = round(counted / seconds, 1)
        outcome.cpu_us_per_event = round(spent / counted * 1e6, 2)

    def _give_up(self, *, has_ended: bool) -> None:
        statuses = ", ".join(f"status {process.returncode}" for process in self._processes)
        what = f"ended ({statuses})" if has_ended else f"stood still for {self._patience:.0f} s"
        done, events = self._progress[0], self._outcome.events
        # It may stand in the report, where this machine's folders mean nothing.
        tail = self._logs[0].read_text(errors="replace")[-_TAIL:].replace(str(Path.cwd()), ".")
        self._outcome.problems.append(
            f"{what} with {done:,} events of {events:,} in its windows: {tail}"
        )
