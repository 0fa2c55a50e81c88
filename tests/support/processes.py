"""Real worker processes, started and stopped like an operator would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from glob import glob
from pathlib import Path


def segments(fallback: Path) -> list[Path]:
    """Return the segments in the folders of all writers, which may vanish meanwhile."""
    # Path.glob would raise then.
    return sorted(map(Path, glob(f"{fallback}/*/*.jsonl")))  # noqa: PTH207


class Worker:
    """A worker process with its log file."""

    def __init__(self, environment: dict[str, str], log: Path, command: Sequence[str]) -> None:
        self.log = log
        self._fallback = Path(environment["FALLBACK_DIR"])
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait(10)

    def stop(self, timeout: float = 15) -> int:
        """End it with SIGTERM; return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def spooled(self) -> list[Path]:
        """Return the segments that wait in the fallback folder, whoever wrote them."""
        return segments(self._fallback)

    def says(self, text: str) -> bool:
        """Tell whether its log contains a text."""
        return text in self.log.read_text(errors="replace")


COMMAND = (sys.executable, "-m", "intentloop_cli", "worker")
StartWorker = Callable[..., Worker]
ChangedWorker = Callable[[str], tuple[str, ...]]
"""Returns the command of a worker that runs some code before it begins."""
RUN = """
import sys
from intentloop_cli import main
sys.argv = ["intentloop", "worker"]
main()
"""


@contextmanager
def workers(environment: dict[str, str], folder: Path) -> Iterator[StartWorker]:
    """Give a function that starts workers; kill what still runs at the end."""
    started: list[Worker] = []

    def start(*, command: Sequence[str] = COMMAND, **more: str) -> Worker:
        log = folder / f"worker-{len(started)}.log"
        worker = Worker({**environment, **more}, log, command)
        started.append(worker)
        return worker

    try:
        yield start
    finally:
        for worker in started:
            if worker.process.poll() is None:
                worker.kill()
