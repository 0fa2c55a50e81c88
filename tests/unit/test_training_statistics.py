"""The statistics agree with other people's."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import binomtest

from intentloop_training.statistics import (
    Bin,
    at_least,
    calibration_bins,
    expected_calibration_error,
    holm,
    mcnemar_worse,
    wilson,
)


@given(st.integers(0, 60), st.integers(1, 60))
def test_wilsons_interval_is_scipys(successes: int, more: int) -> None:
    trials = successes + more
    expected = binomtest(successes, trials).proportion_ci(0.95, method="wilson")

    assert wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_without_trials_anything_is_possible() -> None:
    assert wilson(0, 0) == (0, 1)


@example(9_000, 11_000, 0.5)
@example(0, 5, 0.5)
@given(st.integers(0, 50), st.integers(0, 50), st.floats(0.01, 0.99))
def test_the_upper_tail_is_scipys(successes: int, more: int, probability: float) -> None:
    trials = successes + more
    if trials:
        expected = binomtest(successes, trials, probability, alternative="greater").pvalue
        assert at_least(successes, trials, probability) == pytest.approx(expected, abs=1e-9)


def test_mcnemar_looks_only_at_examples_that_one_model_alone_gets_right() -> None:
    assert mcnemar_worse(5, 0) == pytest.approx(1 / 32)
    assert mcnemar_worse(0, 0) == 1
    assert mcnemar_worse(3, 3) > 0.5


def test_holm_rejects_step_by_step() -> None:
    # The example of the method's article in Wikipedia.
    p_values = {"H1": 0.01, "H2": 0.04, "H3": 0.03, "H4": 0.005}

    assert holm(p_values, 0.05) == ["H4", "H1"]
    assert holm({"only": 0.04}, 0.05) == ["only"]
    assert holm({"one of many": 0.04}, 0.05, hypotheses=2) == []


def test_the_calibration_error_is_the_mean_distance_of_confidence_and_accuracy() -> None:
    bins = calibration_bins([0.95, 0.95, 0.55, 0.55], [True, True, True, False])

    assert bins == [
        Bin(2, pytest.approx(0.55), pytest.approx(0.5)),
        Bin(2, pytest.approx(0.95), pytest.approx(1)),
    ]
    assert expected_calibration_error(bins) == pytest.approx(0.05)
    assert expected_calibration_error([]) == 0
    assert calibration_bins([1.0], [True]) == [Bin(1, 1, 1)]
