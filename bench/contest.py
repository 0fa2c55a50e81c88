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

from bench.check import problems
from bench.contestant import Contestant, Prepared
from bench.expected import Expected
from bench.ground import Ground
from bench.usage import Usage

POLL_SECONDS = 0.1
STALL_SECONDS = 90.0
"""Nothing has moved for so long, start-up included: it will not finish."""
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


@dataclass
class _Watch:
    """Looks at the tables and at the processes until there is nothing more to expect."""

    contestant: Contestant
    processes: list[subprocess.Popen[bytes]]
    logs: list[Path]
    outcome: Outcome
    started_at: float = field(default_factory=time.time)
    ready_at: float | None = None
    done_before: int = 0
    """Events stored already when the last process began to read."""

    def until_finished(self, url: str) -> None:
        usage = Usage(process.pid for process in self.processes)
        cpu_before, seen, moved_at = 0.0, (0, 0), time.time()
        connection = psycopg2.connect(url)
        connection.autocommit = True
        with connection.cursor() as cursor:
            while True:
                has_ended = all(process.poll() is not None for process in self.processes)
                cursor.execute(_PROGRESS)
                progress = cursor.fetchone() or (0, 0)
                now = time.time()
                usage.look()
                if self.ready_at is None:
                    self._look_whether_ready(progress[0])
                    cpu_before = usage.cpu_seconds
                if self._is_complete(cursor, progress[0]):
                    self._finish(now, usage, cpu_before)
                    break
                if progress != seen:
                    seen, moved_at = progress, now
                if has_ended or now - moved_at > STALL_SECONDS:
                    self._give_up(progress[0], has_ended=has_ended)
                    break
                time.sleep(POLL_SECONDS)
        connection.close()
        self.outcome.peak_mb = round(usage.peak_bytes / 1e6, 1)

    def _look_whether_ready(self, done: int) -> None:
        times = [self.contestant.ready_at(log.read_text(errors="replace")) for log in self.logs]
        if all(times):
            self.ready_at = max(time for time in times if time)
            self.done_before = done

    def _is_complete(self, cursor: psycopg2.extensions.cursor, done: int) -> bool:
        if done != self.outcome.events:
            return False
        cursor.execute(_COUNT)
        return bool(cursor.fetchone() == (self.outcome.events,))

    def _finish(self, now: float, usage: Usage, cpu_before: float) -> None:
        if self.ready_at is None:
            self.outcome.problems.append("it never said that it reads")
            return
        counted = self.outcome.events - self.done_before
        seconds = now - self.ready_at
        self.outcome.seconds = round(seconds, 3)
        self.outcome.startup_seconds = round(self.ready_at - self.started_at, 3)
        self.outcome.events_per_second = round(counted / seconds, 1)
        spent = usage.cpu_seconds - cpu_before
        self.outcome.cpu_us_per_event = round(spent / max(1, counted) * 1e6, 2)

    def _give_up(self, done: int, *, has_ended: bool) -> None:
        what = f"ended ({self._statuses()})" if has_ended else f"stood still {STALL_SECONDS:.0f} s"
        tail = self.logs[0].read_text(errors="replace")[-_TAIL:]
        self.outcome.problems.append(
            f"{what} with {done:,} events of {self.outcome.events:,} in its windows: {tail}"
        )

    def _statuses(self) -> str:
        return ", ".join(f"status {process.returncode}" for process in self.processes)
