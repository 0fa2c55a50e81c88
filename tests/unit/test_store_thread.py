"""Groups are handed to the store before their turn, and never pass one that failed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from intentloop_sink import Outcome, PostgresSink, Prepared, Stored, Unavailable
from intentloop_stream.store_thread import Attempt, StoreThread

AWAY = Unavailable("away")
STORED = Stored({})


class Sink(PostgresSink):
    """Answers in the order given, and keeps what it was asked to store."""

    def __init__(self, outcomes: Iterable[Outcome]) -> None:
        super().__init__("", window_seconds=30, writer="test")
        self.outcomes = iter(outcomes)
        self.stored: list[Prepared] = []

    def store(self, prepared: Prepared) -> Outcome:
        """Answer what comes next."""
        self.stored.append(prepared)
        return next(self.outcomes)


class BrokenSink(Sink):
    """Has an error of its own."""

    def store(self, prepared: Prepared) -> Outcome:
        """Raise."""
        raise ZeroDivisionError(prepared)


def group() -> Prepared:
    return Prepared([], {}, 30)


async def outcomes(*attempts: asyncio.Future[Attempt | None]) -> list[Outcome | None]:
    done = await asyncio.gather(*attempts)
    return [attempt.outcome if attempt else None for attempt in done]


async def handed_over(store: StoreThread, groups: Iterable[Prepared]) -> list[Outcome | None]:
    return await outcomes(*map(store.store_next, groups))


def test_groups_are_stored_in_the_order_in_which_they_are_handed_over() -> None:
    sink, groups = Sink([STORED] * 3), [group() for _ in range(3)]
    assert asyncio.run(handed_over(StoreThread(sink), groups)) == [STORED] * 3
    assert all(a is b for a, b in zip(sink.stored, groups, strict=True))


def test_a_group_behind_one_that_failed_is_held_back() -> None:
    sink, groups = Sink([STORED, AWAY]), [group() for _ in range(4)]
    assert asyncio.run(handed_over(StoreThread(sink), groups)) == [STORED, AWAY, None, None]
    assert len(sink.stored) == 2


def test_after_a_failure_a_group_stored_in_its_turn_lets_others_follow() -> None:
    async def recovery(store: StoreThread) -> list[Outcome | None]:
        failed = await handed_over(store, [group()])
        again = (await store.store(group())).outcome
        held_back = await handed_over(store, [group()])
        in_turn = (await store.store(group())).outcome
        return [*failed, again, *held_back, in_turn, *await handed_over(store, [group()])]

    store = StoreThread(Sink([AWAY, AWAY, STORED, STORED]))
    assert asyncio.run(recovery(store)) == [AWAY, AWAY, None, STORED, STORED]


def test_a_group_behind_one_whose_store_broke_is_held_back() -> None:
    async def two(store: StoreThread) -> tuple[BaseException | Attempt | None, ...]:
        both = store.store_next(group()), store.store_next(group())
        return tuple(await asyncio.gather(*both, return_exceptions=True))

    first, second = asyncio.run(two(StoreThread(BrokenSink([]))))
    assert isinstance(first, ZeroDivisionError)
    assert second is None
