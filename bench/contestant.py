"""Who takes part: how to start it, how to see that it reads, and what it can be asked for."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version

RAW = "raw COPY"
OURS = "intentloop"
OURS_TWICE = f"{OURS}, 2 workers"
PYTHON = sys.executable
_READY = re.compile(r"\bREADY (\d+\.\d+)")


class UnavailableError(Exception):
    """A contestant cannot take part on this machine; the message says why."""


@dataclass(frozen=True)
class Prepared:
    """How to start a contestant."""

    command: Sequence[str]
    versions: dict[str, str]
    environment: dict[str, str] = field(default_factory=dict)


def ready_line(log: str) -> float | None:
    """Return when a log says `READY <epoch seconds>`, which contestants print as they read."""
    found = _READY.search(log)
    return float(found[1]) if found else None


def assigned(log: str) -> float | None:
    """Return when our worker's log says that it has partitions."""
    for line in log.splitlines():
        if line.startswith("{") and '"assigned"' in line:
            entry = json.loads(line)
            if entry.get("event") == "assigned" and entry["positions"]:
                return datetime.fromisoformat(entry["timestamp"]).timestamp()
    return None


@dataclass(frozen=True)
class Contestant:
    """A way from the topic into the tables.

    It is given KAFKA_BOOTSTRAP_SERVERS, INTENTLOOP_TOPIC, INTENTLOOP_GROUP and DATABASE_URL, and
    runs until it is told to end.
    """

    name: str
    about: str
    """How it is written and tuned, for the report."""
    prepare: Callable[[], Prepared]
    """Installs what it needs. Raises UnavailableError."""
    processes: int = 1
    keeps_hours: bool = False
    ready_at: Callable[[str], float | None] = ready_line
    """When a process read its first, in epoch seconds, from its log; None while it does not."""


def module(name: str, *packages: str, arguments: Sequence[str] = ()) -> Callable[[], Prepared]:
    """Prepare a contestant that is a module in our own environment."""
    command = [PYTHON, "-m", name, *arguments]
    return lambda: Prepared(command, {package: version(package) for package in packages})
