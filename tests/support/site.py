"""One machine with messages of two senders, and where the one to be erased can be read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from typer.testing import Result

from intentloop_schemas import TopicPartition
from intentloop_sink.spool import Spool
from support import tables
from support.batches import batch, entry
from support.topic_reader import read_topic

ASHA, BELA = "+919876543210", "+919876500000"
SECRET = "asha-s own words"
Intentloop = Callable[..., Result]
"""Runs the command line with these arguments."""


class Site(NamedTuple):
    """One machine: its topic, its database and its folders."""

    servers: str
    topic: str
    url: str
    fallback: Path
    journals: Path

    def traces(self) -> list[str]:
        """Return where a word of the erased sender can be read, but for Kafka's own log."""
        found = [str(path) for folder in (self.fallback, self.journals) for path in files(folder)]
        names = tables.query(
            self.url,
            "SELECT relname FROM pg_class "
            "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
        )
        for (name,) in names:
            if is_of_asha(str(tables.query(self.url, f'SELECT * FROM "{name}"')).encode()):
                found.append(name)
        if any(map(is_hers, dead_letters(self))):
            found.append("dead letters")
        return found


def files(folder: Path) -> Iterable[Path]:
    """Return the files that hold a word of the erased sender."""
    return [p for p in folder.rglob("*") if p.is_file() and is_of_asha(p.read_bytes())]


def is_of_asha(data: bytes) -> bool:
    return ASHA.encode() in data or SECRET.encode() in data


def dead_letters(site: Site) -> list[Any]:
    """Return the records of the dead-letter topic."""
    return read_topic(site.servers, f"{site.topic}.dlq")


def is_hers(letter: Any) -> bool:
    return is_of_asha((letter.key() or b"") + (letter.value() or b""))


def senders(site: Site) -> set[str]:
    """Return whose messages the database holds."""
    return {row[0] for row in tables.query(site.url, 'SELECT DISTINCT sender FROM "Example"')}


def event(sender: str, number: int, **fields: Any) -> dict[str, Any]:
    """Make an event as a bot sends it, about an hour old; the erased sender says her secret."""
    return {
        "phoneNumber": sender,
        "messageText": f"{SECRET} {number}" if sender == ASHA else f"hello {number}",
        "intent": "greet",
        "confidence": 0.9,
        "timestamp": int(time.time() * 1000) - 3_600_000 + number,
        **fields,
    }


def leave_spool(site: Site) -> int:
    """Leave what a dead writer could not store; return how many records that is."""
    entries = [
        entry(n, phone_number=(ASHA, BELA)[n % 2], message_text=SECRET if n % 2 == 0 else "hi")
        for n in range(4)
    ]
    with Spool(site.fallback, "dead") as spool:
        spool.append([batch(entries, partition=TopicPartition("elsewhere", "elsewhere-1", 0))])
    return len(entries)


def row(report: str, place: str) -> tuple[int, int]:
    """Return what the report says was found and erased in a place."""
    (line,) = [line for line in report.splitlines() if line.strip("│ ").startswith(place)]
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    return int(cells[1]), int(cells[2])
