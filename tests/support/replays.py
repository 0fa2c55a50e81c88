"""Spools replayed into a store, and what its tables hold, however it came there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from intentloop_schemas import Batch
from intentloop_sink import PostgresSink, Stored
from intentloop_sink.spool import Replayer, ReplayStep, Spool
from support import tables

MakeSink = Callable[..., PostgresSink]
NOBODY = "postgresql://nobody@127.0.0.1:1/nothing"
"""Where no database answers."""


def store(sink: PostgresSink, batches: Sequence[Batch]) -> Stored:
    """Store batches directly, past any spool."""
    outcome = sink.store(sink.prepare(batches))
    assert isinstance(outcome, Stored), outcome
    return outcome


def replay(spool: Spool, sink: PostgresSink, **options: Any) -> list[ReplayStep]:
    """Replay until the end; return the steps, the last of which says what waits."""
    replayer = Replayer(spool, sink, **options)
    steps = [replayer.step()]
    while not steps[-1].is_over:
        steps.append(replayer.step())
        assert steps[-1].error is None
        assert len(steps) < 1_000
    return steps


def contents(url: str) -> tuple[Any, ...]:
    """Return all that must not depend on the way that events took."""
    ranges = """
        SELECT topic_id, partition, min(first_position), max(next_position), sum(stored),
               sum(duplicates), sum(rejected), sum(flagged), sum(batches)
        FROM conversation_batch GROUP BY 1, 2 ORDER BY 1, 2
    """
    lines = "SELECT topic_id, partition, next_position, highest_timestamp FROM ingest_offset"
    return (
        tables.examples(url),
        tables.statistics(url, "intent_window_stats"),
        tables.statistics(url, "intent_hourly_stats"),
        tables.query(url, ranges),
        tables.query(url, f"{lines} ORDER BY 1, 2"),
        tables.query(url, 'SELECT id, size FROM "Dataset" ORDER BY 1'),
        tables.untiled(url),
    )


def everything(url: str) -> tuple[Any, ...]:
    """Return all that no second replay may change."""
    batches = tables.query(url, "SELECT * FROM conversation_batch ORDER BY 1, 2, 3")
    return (*contents(url), batches)
