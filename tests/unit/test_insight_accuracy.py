"""How often a model was right: a weighed estimate of two very different samples."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intentloop_sink.insights.accuracy import Figures, Judged, histories

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_each_part_counts_as_much_as_its_messages() -> None:
    figures = Figures(1_000, 100, Judged(50, 10), Judged(20, 19))

    assert figures.flagged_share == 0.1
    assert figures.accuracy
    assert figures.accuracy.share == pytest.approx(0.1 * 10 / 50 + 0.9 * 19 / 20)


def test_what_nobody_judged_leaves_the_accuracy_open() -> None:
    assert Figures(100, 10, Judged(5, 2)).accuracy is None
    assert Figures(100, 10, judged_others=Judged(5, 5)).accuracy is None
    assert Figures().accuracy is None
    assert Figures().flagged_share is None


def test_a_part_without_messages_needs_no_judgement() -> None:
    without = Figures(100, 0, judged_others=Judged(10, 9)).accuracy

    assert without
    assert without.share == pytest.approx(0.9)


counts = st.integers(0, 1_000)
judged = st.tuples(st.integers(1, 200), st.floats(0, 1)).map(
    lambda drawn: Judged(drawn[0], round(drawn[0] * drawn[1]))
)


@given(st.integers(1, 1_000), st.floats(0, 1), judged, judged)
def test_the_estimate_lies_in_its_interval(
    n: int, share: float, flagged: Judged, others: Judged
) -> None:
    estimate = Figures(n, round(n * share), flagged, others).accuracy

    assert estimate
    assert 0 <= estimate.interval.low <= estimate.share + 1e-12
    assert estimate.share - 1e-12 <= estimate.interval.high <= 1


def test_the_model_that_began_last_comes_first_and_its_periods_add_up() -> None:
    later = NOON + timedelta(hours=1)
    figures = Figures(10, 1, Judged(1, 0, 1), Judged(2, 2, 2))

    new, old = histories(
        {"old": {NOON: figures}, "new": {later + timedelta(hours=1): figures, later: figures}}
    )

    assert (new.version, new.first, old.version) == ("new", later, "old")
    assert new.total == Figures(20, 2, Judged(2, 0, 2), Judged(4, 4, 4))
    assert new.total.judged == Judged(6, 4, 6)
