"""What lies in a spool, in a form that tests can compare."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from intentloop_schemas import Batch, Entry
from intentloop_sink.spool import Spool

OpenSpool = Callable[..., Spool]


def plain(batches: Any) -> list[Any]:
    """Return batches as comparable values, whatever class their records have."""
    return [
        (
            b.partition,
            (b.first_position, b.next_position, b.highest_timestamp, b.opened_at),
            (b.closed_by, b.rejected, b.batches),
            [
                (derived(e), e.record.offset, e.record.timestamp, e.record.key, e.record.value)
                for e in b.entries
            ],
        )
        for b in batches
    ]


def derived(each: Entry) -> tuple[Any, ...]:
    return each.event, each.event_id, each.example_id, each.reasons, each.late


def read(spool: Spool) -> list[Batch]:
    return [spooled.batch for spooled in spool.read()]


def segments(spool: Spool) -> list[Path]:
    return sorted(spool.folder.glob("*.jsonl"))
