"""Waiting for a run's records: it ends when all are accounted for, or says why it cannot."""

from types import SimpleNamespace
from typing import Any

import pytest

from intentloop_demo.results import Sent, Totals
from intentloop_demo.session import Session, StalledError


def session(accounted: list[int], *, produced: int, worker_runs: bool = True) -> Any:
    """A session whose store is at each of these counts in turn, and stays at the last."""
    answers = iter(accounted)
    last = [0]

    def totals() -> Totals:
        last[0] = next(answers, last[0])
        return Totals(stored=last[0])

    parts: Any = SimpleNamespace(worker=SimpleNamespace(pid=1 if worker_runs else None))
    player: Any = SimpleNamespace(sent=Sent(messages=produced))
    results: Any = SimpleNamespace(totals=totals)
    places: Any = SimpleNamespace(worker_log="the worker's log")
    return Session(parts, player, results, places)


def test_waits_until_everything_is_accounted_for():
    shown = []

    session([0, 4, 10], produced=10).await_all(lambda: shown.append(1))

    assert len(shown) == 3


def test_too_many_do_not_make_it_wait():
    session([11], produced=10).await_all(lambda: None)


def test_a_worker_that_ended_is_not_waited_for():
    with pytest.raises(StalledError, match="ended; see the worker's log"):
        session([4], produced=10, worker_runs=False).await_all(lambda: None)


def test_a_store_that_stands_still_is_given_up_on():
    with pytest.raises(StalledError, match=r"nothing was stored .* 4 of 10 records"):
        session([0, 4], produced=10).await_all(lambda: None, patience=0.2)
