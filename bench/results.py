"""Results as JSON lines: one file a program, one line a measurement, the circumstances first."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from bench.ground import Ground

DEFAULT = Path("docs/benchmarks")
_PACKAGES = ("confluent-kafka", "faust-streaming", "msgspec", "psycopg2-binary", "pydantic")


class Results:
    """A file of results, begun anew. Every line is on disk before the next measurement."""

    def __init__(self, folder: Path, name: str, about: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / f"{name}.jsonl"
        self._file.unlink(missing_ok=True)
        self.add("about", **about)

    def add(self, kind: str, **measured: Any) -> None:
        """Append a line."""
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"kind": kind, **measured}) + "\n")


def read(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return the lines of a file of results, none when there is no such file."""
    file = folder / f"{name}.jsonl"
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def circumstances(ground: Ground | None = None, **more: Any) -> dict[str, Any]:
    """Return when, on what machine and with which versions is measured."""
    return {
        "at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": _commit(),
        "machine": f"{os.cpu_count()} cores ({_cpu()}), {_memory_gb()} GB of memory",
        # Others who work on the machine make every figure worse.
        "load_before": round(os.getloadavg()[0], 2),
        "versions": {
            "python": platform.python_version(),
            **(ground.versions if ground else {}),
            **{package: version(package) for package in _PACKAGES},
        },
        **more,
    }


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"


def _cpu() -> str:
    information = Path("/proc/cpuinfo")
    for line in information.read_text().splitlines() if information.exists() else []:
        if line.startswith("model name"):
            return line.split(": ", 1)[1]
    return platform.machine()


def _memory_gb() -> int:
    return round(int(psutil.virtual_memory().total) / 2**30)
