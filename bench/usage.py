"""What processes and their descendants have used so far."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil


class Usage:
    """CPU time and peak memory of process trees, remembered beyond the end of a process."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._roots = list(pids)
        self._cpu: dict[int, float] = {}
        self._peak: dict[int, int] = {}

    @property
    def cpu_seconds(self) -> float:
        """User and system time of all, as of the last look."""
        return sum(self._cpu.values())

    @property
    def peak_bytes(self) -> int:
        """The sum of each process's own highest resident memory."""
        return sum(self._peak.values())

    def look(self) -> None:
        """Read the counters of all that live."""
        for root in self._roots:
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(root)
                for member in [process, *process.children(recursive=True)]:
                    with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                        times = member.cpu_times()
                        self._cpu[member.pid] = times.user + times.system
                        # One that has just ended has no memory any more.
                        before = self._peak.get(member.pid, 0)
                        self._peak[member.pid] = max(before, _peak(member))


def _peak(process: psutil.Process) -> int:
    """Return VmHWM, which Linux keeps; elsewhere what is resident now."""
    status = Path(f"/proc/{process.pid}/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return int(process.memory_info().rss)
