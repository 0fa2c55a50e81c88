"""Groups reach the store in the order of their batches, also after the store has failed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress

import pytest

from intentloop_schemas import DeadLetter, TopicPartition
from intentloop_sink import Outcome, OutOfTurn, PostgresSink, Prepared, Stored, Unavailable
from intentloop_stream import group_commit
from intentloop_stream.backpressure import Backpressure
from intentloop_stream.group_commit import GroupCommit
from intentloop_stream.metrics import Metrics
from intentloop_stream.storm import StormWatch
from intentloop_stream.surroundings import Surroundings
from support.batches import NOON, PARTITION, tens, traffic

GROUPS = 6


class Store(PostgresSink):
    """Stores what follows on what it has, and is away at some of the calls."""

    def __init__(self, away_at: Sequence[int]) -> None:
        super().__init__("", window_seconds=30, writer="test")
        self.away_at = away_at
        self.calls: list[int] = []
        self.position = 0
        self.out_of_turn = 0

    def store(self, prepared: Prepared) -> Outcome:
        """Store a group whole."""
        self.calls.append(first := prepared.batches[0].first_position)
        if len(self.calls) in self.away_at:
            return Unavailable("away")
        if first != self.position:
            self.out_of_turn += 1
            return OutOfTurn(PARTITION, self.position)
        self.position = prepared.batches[-1].next_position
        return Stored({PARTITION: self.position}, stored=10)


async def brought_into(store: Store) -> list[int]:
    """Bring some groups into a store; return the positions that were acknowledged, in turn."""
    acknowledged: list[int] = []

    async def publish(_: Sequence[DeadLetter]) -> None: ...

    async def reposition() -> None: ...

    def on_stored(positions: Mapping[TopicPartition, int]) -> None:
        acknowledged.append(positions[PARTITION])

    commits = GroupCommit(
        store,
        None,
        publish=publish,
        on_stored=on_stored,
        on_out_of_turn=reposition,
        storms=StormWatch(1.0, 100, stop=False),
        surroundings=Surroundings(lambda: NOON, Backpressure(), Metrics()),
    )
    work = asyncio.create_task(commits.run())
    await commits.put(tens(traffic(range(GROUPS * 10))))
    await asyncio.wait_for(commits.idle(), 30)
    work.cancel()
    with suppress(asyncio.CancelledError):
        await work
    return acknowledged


@pytest.mark.parametrize("away_at", [[], [1], [2], [1, 2, 3], [3, 4], [2, 5, 6]])
def test_a_group_never_passes_one_that_failed(
    monkeypatch: pytest.MonkeyPatch, away_at: list[int]
) -> None:
    monkeypatch.setattr(group_commit, "GROUP_ENTRIES", 10)
    store = Store(away_at)

    acknowledged = asyncio.run(brought_into(store))

    assert store.out_of_turn == 0
    assert len(store.calls) == GROUPS + len(away_at)
    assert acknowledged == [10 * number for number in range(1, GROUPS + 1)]
