"""The rule that says which messages a person should look at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from intentloop_schemas.confidence import to_micros
from intentloop_schemas.event import Alternative

DEFAULT_THRESHOLD = 0.7
DEFAULT_MARGIN = 0.1

FALLBACK_INTENTS = frozenset(
    {
        "nlu_fallback",
        "out_of_scope",
        "oos",
        "fallback",
        "default_fallback",
        "default_fallback_intent",
        "amazon.fallbackintent",
        "none",
        "unknown",
    }
)
"""How Rasa, Dialogflow, Lex, LUIS and others name "I did not understand"."""


class ReviewReason(StrEnum):
    """Why a message is flagged."""

    LOW_CONFIDENCE = "low_confidence"
    FALLBACK_INTENT = "fallback_intent"
    SMALL_MARGIN = "small_margin"


@dataclass(frozen=True, slots=True)
class ReviewRule:
    """Flags low confidence, fallback intents and close calls.

    `threshold`: flagged when the confidence is below it. `margin`: flagged when the best guess of
    another intent is closer than this. Both are probabilities from 0 to 1.
    """

    threshold: float = DEFAULT_THRESHOLD
    margin: float = DEFAULT_MARGIN

    def reasons(
        self, intent: str, confidence: float, alternatives: Iterable[Alternative] | None = None
    ) -> tuple[ReviewReason, ...]:
        """Return why a message needs review, in a fixed order; empty when it does not."""
        # Most messages are clear, and this runs for each of them.
        if confidence >= self.threshold and not alternatives and not is_fallback(intent):
            return ()
        checks = (
            (ReviewReason.LOW_CONFIDENCE, confidence < self.threshold),
            (ReviewReason.FALLBACK_INTENT, is_fallback(intent)),
            (ReviewReason.SMALL_MARGIN, self._is_close_call(intent, confidence, alternatives)),
        )
        return tuple(reason for reason, holds in checks if holds)

    def _is_close_call(
        self, intent: str, confidence: float, alternatives: Iterable[Alternative] | None
    ) -> bool:
        others = [a.confidence for a in alternatives or () if a.intent != intent]
        # In whole micros, because 0.9 - 0.8 is less than 0.1 in binary fractions.
        return bool(others) and (
            to_micros(confidence) - to_micros(max(others)) < to_micros(self.margin)
        )


@lru_cache(maxsize=8192)
def is_fallback(intent: str) -> bool:
    """Tell whether an intent means "not understood". NLUs often report those with confidence 1."""
    return intent.strip().lower().replace(" ", "_") in FALLBACK_INTENTS
