"""Which messages a person should look at."""

from __future__ import annotations

import pytest

from intentloop_schemas import Alternative, ReviewReason, ReviewRule
from intentloop_schemas.review import FALLBACK_INTENTS

LOW, FALLBACK, CLOSE = (
    ReviewReason.LOW_CONFIDENCE,
    ReviewReason.FALLBACK_INTENT,
    ReviewReason.SMALL_MARGIN,
)


def alternatives(**guesses: float) -> list[Alternative]:
    return [Alternative(intent=intent, confidence=value) for intent, value in guesses.items()]


@pytest.mark.parametrize(
    ("confidence", "expected"),
    [(0.0, (LOW,)), (0.699_999, (LOW,)), (0.7, ()), (0.700_001, ()), (1.0, ())],
)
def test_flagged_below_the_threshold_and_not_at_it(
    confidence: float, expected: tuple[ReviewReason, ...]
) -> None:
    assert ReviewRule().reasons("track_order", confidence) == expected
    assert ReviewRule(margin=0).reasons("track_order", confidence, alternatives(a=0)) == expected


def test_the_threshold_can_be_set() -> None:
    assert ReviewRule(threshold=0.9).reasons("greet", 0.85) == (LOW,)
    assert ReviewRule(threshold=0.0).reasons("greet", 0.0) == ()


@pytest.mark.parametrize("intent", [*sorted(FALLBACK_INTENTS), "None", "Default Fallback Intent"])
def test_not_understood_is_flagged_however_sure_the_nlu_is_of_it(intent: str) -> None:
    assert ReviewRule().reasons(intent, 1.0) == (FALLBACK,)


def test_intents_that_only_look_like_fallbacks_are_not_flagged() -> None:
    assert ReviewRule().reasons("none_of_my_orders_arrived", 1.0) == ()


@pytest.mark.parametrize(
    ("other", "expected"), [(0.89, (CLOSE,)), (0.801, (CLOSE,)), (0.8, ()), (0.1, ())]
)
def test_close_calls_are_flagged(other: float, expected: tuple[ReviewReason, ...]) -> None:
    assert ReviewRule().reasons("cancel", 0.9, alternatives(refund=other)) == expected


def test_the_intent_itself_among_the_guesses_is_no_rival() -> None:
    assert ReviewRule().reasons("cancel", 0.9, alternatives(cancel=0.9, refund=0.05)) == ()


def test_no_guesses_are_no_close_call() -> None:
    assert ReviewRule().reasons("cancel", 0.9, []) == ()
    assert ReviewRule().reasons("cancel", 0.9, None) == ()


def test_reasons_come_together_and_in_a_fixed_order() -> None:
    reasons = ReviewRule().reasons("nlu_fallback", 0.4, alternatives(refund=0.39))
    assert reasons == (LOW, FALLBACK, CLOSE)
