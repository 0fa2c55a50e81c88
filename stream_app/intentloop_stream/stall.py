"""Stalls: there is something to do, nobody waits for anything, and yet nothing moves. No clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from intentloop_schemas import TopicPartition


class Standing(NamedTuple):
    """How far one partition has come: positions, each of which follows the one before."""

    fetched: int | None
    """Read from Kafka; None while nobody knows where to begin."""
    delivered: int
    """Handed to the pipeline."""
    taken: int
    """Decoded and batched."""
    due: int
    """In batches that are closed, or old enough to be."""
    safe: int
    """In the store or in the spool."""

    def is_read(self, end: int) -> bool:
        """Tell whether a log that ends at `end` is read, decoded and batched."""
        is_fetched = self.fetched is not None and self.fetched >= end
        return is_fetched and self.delivered <= self.taken


class Stall(NamedTuple):
    """Nothing has been done for so long, though there is something to do."""

    done: str
    """What should be: read or stored."""
    seconds: float
    lag: Mapping[TopicPartition, int]
    """How many positions of the log are not safe, by partition that should move."""

    def __str__(self) -> str:
        lag = ", ".join(f"{p.partition}: {records}" for p, records in sorted(self.lag.items()))
        return (
            f"nothing was {self.done} for {self.seconds:.0f} s, though records wait "
            f"(by partition, {lag})"
        )


class StallDetector:
    """Judges looks at the standings of one worker.

    Reading and storing are judged apart: reading goes on for a while when nothing is stored any
    more. Progress is a position, of any partition, that is higher than ever since the partition was
    assigned: a worker that reads the same records again and again makes none.

    Args:
        patience: seconds without progress that are a stall.
        longest_step: seconds that one look counts at most. A process that was frozen between two
            looks is given the chance to go on.
    """

    def __init__(self, patience: float, longest_step: float) -> None:
        self._patience = patience
        self._longest_step = longest_step
        self._looked_at: float | None = None
        self._reading = _Stage("read")
        self._storing = _Stage("stored")

    def observe(
        self,
        now: float,
        standings: Mapping[TopicPartition, Standing],
        ends: Mapping[TopicPartition, int],
        excuse: str | None = None,
    ) -> Stall | None:
        """Return the stall, if it is one by now.

        `now` is monotonic time in seconds; `ends` are the log's ends, of the partitions whose ends
        are known, from before the standings. An `excuse` is something that the worker waits for.
        """
        step = 0.0 if self._looked_at is None else min(now - self._looked_at, self._longest_step)
        self._looked_at = now
        unread = {p: s for p, s in standings.items() if p in ends and not s.is_read(ends[p])}
        unstored = {p: s for p, s in standings.items() if s.due > s.safe}
        for stage, places, work in (
            (self._reading, {p: s.taken for p, s in standings.items()}, unread),
            (self._storing, {p: s.safe for p, s in standings.items()}, unstored),
        ):
            has_moved = stage.note(places)
            stage.still = 0.0 if has_moved or excuse or not work else stage.still + step
            if stage.still >= self._patience:
                lag = {p: max(ends.get(p, 0), s.taken) - s.safe for p, s in work.items()}
                return Stall(stage.done, stage.still, lag)
        return None


@dataclass(slots=True)
class _Stage:
    done: str
    still: float = 0.0
    """Seconds for which there was something to do and nothing was done."""
    _highest: dict[TopicPartition, int] = field(default_factory=dict)

    def note(self, places: Mapping[TopicPartition, int]) -> bool:
        """Note the highest positions; tell whether one is new."""
        before = self._highest
        self._highest = {p: max(at, before.get(p, at)) for p, at in places.items()}
        return any(at > before.get(p, -1) for p, at in self._highest.items())
