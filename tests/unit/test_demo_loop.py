"""The loop: reviewing what the model doubts makes the next model better."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from intentloop_demo.loop import Loop, Round, table


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> list[Round]:
    return list(Loop(tmp_path_factory.mktemp("models"), seed=1).run(3))


def test_the_curve_rises(rounds: list[Round]) -> None:
    first, *_, last = rounds

    assert [one.number for one in rounds] == [0, 1, 2, 3]
    assert last.labels > first.labels
    # Measured: 0.50 and 0.68.
    assert last.accuracy.interval.low > first.accuracy.interval.high


def test_a_model_that_was_not_promoted_does_not_answer(rounds: list[Round]) -> None:
    for before, after in pairwise(rounds):
        assert (after.version != before.version) == (after.verdict == "promoted")


def test_the_same_seed_gives_the_same_curve(rounds: list[Round], tmp_path: Path) -> None:
    assert next(Loop(tmp_path, seed=1).run(1)) == rounds[0]


def test_the_table_says_that_the_reviewer_is_simulated(rounds: list[Round]) -> None:
    assert "simulated reviewer" in str(table(rounds).title)
    assert table(rounds).row_count == 4
