"""Precision, calibration, thresholds, drift, phrases, chance: the formulas behind the pages."""

from __future__ import annotations

from collections import Counter
from math import comb, sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intentloop_sink.insights.drift import Verdict, drift
from intentloop_sink.insights.phrases import log_likelihood_ratio, rising_phrases
from intentloop_sink.insights.precision import (
    calibration,
    precision_by_intent,
    suggested_threshold,
    wilson_interval,
)
from intentloop_sink.review.audit import Audited, draw
from intentloop_sink.review.cards import card_id, normalise, uncertainty

shares = st.tuples(st.integers(0, 500), st.integers(1, 500)).filter(lambda s: s[0] <= s[1])
audits = st.lists(
    st.builds(Audited, st.sampled_from(["a", "b"]), st.floats(0, 1), st.booleans()), max_size=200
)
histograms = st.lists(st.integers(0, 300), min_size=20, max_size=20)


@given(shares)
def test_wilson_s_interval_solves_its_equation(share: tuple[int, int]) -> None:
    """Its ends are where the observed share lies exactly z standard errors away."""
    right, n = share
    for end in wilson_interval(right, n, z=2.0):
        distance = abs(right / n - end)
        assert distance == pytest.approx(2.0 * sqrt(end * (1 - end) / n), abs=1e-6)


def test_wilson_s_interval_keeps_its_word() -> None:
    """For a true share of 0.95 and 40 trials it covers it about 95 % of the time."""
    n, truth = 40, 0.95
    covered = sum(
        comb(n, k) * truth**k * (1 - truth) ** (n - k)
        for k in range(n + 1)
        if wilson_interval(k, n).low <= truth <= wilson_interval(k, n).high
    )
    assert 0.92 < covered < 0.98


@pytest.mark.parametrize(("right", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_what_is_no_share_has_no_interval(right: int, n: int) -> None:
    with pytest.raises(ValueError, match="is no share"):
        wilson_interval(right, n)


@given(audits)
def test_every_audited_message_counts_once(audited: list[Audited]) -> None:
    assert sum(p.judged for p in precision_by_intent(audited)) == len(audited)
    bins = calibration(audited)
    assert sum(b.judged for b in bins) == len(audited)
    assert [b.mean_confidence for b in bins] == sorted(b.mean_confidence for b in bins)


@given(audits)
def test_a_suggested_threshold_keeps_its_promise(audited: list[Audited]) -> None:
    found = suggested_threshold(audited, target=0.8, min_judged=10)
    if found is None:
        return
    above = [one for one in audited if one.confidence >= found.threshold]
    assert (found.judged, found.right) == (len(above), sum(one.is_right for one in above))
    assert wilson_interval(found.right, found.judged).low >= 0.8


def test_a_threshold_is_suggested_where_the_model_begins_to_be_right() -> None:
    audited = [Audited("a", c / 100, is_right=c >= 60) for c in range(100) for _ in range(10)]
    found = suggested_threshold(audited, target=0.95)
    assert found is not None
    assert 0.57 <= found.threshold <= 0.6
    assert suggested_threshold(audited[:20]) is None


@given(histograms)
def test_a_distribution_does_not_drift_from_itself(counts: list[int]) -> None:
    found = drift(counts, counts)
    if found is not None:
        assert found.psi == pytest.approx(0)
        assert found.verdict is Verdict.STABLE


@given(histograms, histograms)
def test_drift_is_never_negative_and_says_its_counts(a: list[int], b: list[int]) -> None:
    found = drift(a, b)
    assert (found is None) or (
        found.psi >= 0 and (found.reference_count, found.current_count) == (sum(a), sum(b))
    )
    if min(sum(a), sum(b)) < 100:
        assert found is None


def test_a_shifted_distribution_drifts() -> None:
    high, low = [0] * 15 + [40] * 5, [0] * 12 + [40] * 5 + [0] * 3
    found = drift(high, low)
    assert found is not None
    assert found.verdict is Verdict.LARGE


def test_the_index_is_that_of_the_formula() -> None:
    """Two bins, 500:500 against 800:200, with half an event more in each."""
    found = drift([500, 500, *[0] * 18], [800, 200, *[0] * 18])
    assert found is not None
    assert found.psi == pytest.approx(0.3 * 0.4700 + 0.3 * 0.9163, rel=0.01)


def test_a_planted_phrase_rises() -> None:
    chance = Random(1)
    words = ["where", "is", "my", "order", "please", "refund", "do", "you", "have", "the"]
    before = [" ".join(chance.choices(words, k=4)) for _ in range(2_000)]
    now = [" ".join(chance.choices(words, k=4)) for _ in range(2_000)]
    now[::50] = ["do you have the Diwali hamper?"] * 40

    found = rising_phrases(now, before)

    assert found[0].phrase == "diwali hamper"
    assert (found[0].messages, found[0].before) == (40, 0)
    assert len(found) == 1


@given(st.lists(st.sampled_from(["yes", "no thanks", "where is it"]), max_size=60))
def test_nothing_rises_against_itself(texts: list[str]) -> None:
    assert rising_phrases(texts, texts) == []


@given(shares, shares)
def test_surprise_is_symmetric_and_never_negative(a: tuple[int, int], b: tuple[int, int]) -> None:
    assert log_likelihood_ratio(*a, *b) == pytest.approx(log_likelihood_ratio(*b, *a), abs=1e-9)
    assert log_likelihood_ratio(*a, *b) >= -1e-9
    assert log_likelihood_ratio(*a, *a) == pytest.approx(0, abs=1e-9)


@given(st.text(max_size=60))
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Where is my order?", "where is  my ORDER", True),
        ("don't", "dont", True),
        ("मेरा ऑर्डर कहाँ है?", "मेरा ऑर्डर कहाँ है", True),
        ("मेरा", "मरा", False),
        ("1", "2", False),
        ("👍", "👎", False),
        ("OK 👍", "ok", True),
        ("\uff39\uff45\uff53", "yes", True),
    ],
)
def test_which_texts_are_the_same(one: str, other: str, same: bool) -> None:
    assert (normalise(one) == normalise(other)) is same


def test_cards_differ_by_dataset_and_step() -> None:
    ids = {card_id(d, "yes", s) for d in ("ds-a", "ds-b") for s in ("", "confirm")}
    assert len(ids) == 4


@given(st.floats(0, 1), st.lists(st.floats(0, 1), max_size=3))
def test_uncertainty_is_a_share(confidence: float, others: list[float]) -> None:
    alternatives = [{"intent": "other", "confidence": o} for o in others]
    assert 0 <= uncertainty("a", confidence, alternatives) <= 1


def test_a_close_call_and_a_fallback_are_uncertain() -> None:
    close = uncertainty("a", 0.5, [{"intent": "b", "confidence": 0.49}])
    assert close == pytest.approx(0.99)
    assert uncertainty("a", 0.5, [{"intent": "a", "confidence": 0.5}]) == 0.5
    assert uncertainty("nlu_fallback", 1.0, None) == 1.0


@given(st.lists(st.integers(0, 40), min_size=1, max_size=24), st.integers(0, 60))
def test_a_draw_takes_different_places_that_exist(counts: list[int], wanted: int) -> None:
    places = draw(counts, wanted, Random(0))
    assert len(places) == len(set(places)) == min(wanted, sum(counts))
    assert all(place.rank < counts[place.hour] for place in places)


def test_a_draw_favours_no_hour() -> None:
    """A quiet hour with 10 of 100 messages gets a tenth of the draws."""
    hours = Counter(p.hour for seed in range(400) for p in draw([90, 10], 10, Random(seed)))
    assert hours[1] / hours.total() == pytest.approx(0.1, abs=0.02)
