"""The rule that says which messages a person should look at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import product

from intentloop_schemas.confidence import to_micros
from intentloop_schemas.fields import AlternativeFields

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


_REASONS = {
    holds: tuple(reason for reason, is_one in zip(ReviewReason, holds, strict=True) if is_one)
    for holds in product((False, True), repeat=len(ReviewReason))
}
"""The reasons, in their order, by which of them hold: made once, looked up for every message."""


@dataclass(frozen=True, slots=True)
class ReviewRule:
    """Flags low confidence, fallback intents and close calls.

    `threshold`: flagged when the confidence is below it. `margin`: flagged when the best guess of
    another intent is closer than this. Both are probabilities from 0 to 1.
    """

    threshold: float = DEFAULT_THRESHOLD
    margin: float = DEFAULT_MARGIN

    def reasons(
        self,
        intent: str,
        confidence: float,
        alternatives: Sequence[AlternativeFields] | None = None,
    ) -> tuple[ReviewReason, ...]:
        """Return why a message needs review, in a fixed order; empty when it does not."""
        is_close = alternatives is not None and self._is_close_call(
            intent, confidence, alternatives
        )
        return _REASONS[confidence < self.threshold, is_fallback(intent), is_close]

    def _is_close_call(
        self, intent: str, confidence: float, alternatives: Iterable[AlternativeFields]
    ) -> bool:
        others = [a.confidence for a in alternatives if a.intent != intent]
        # In whole micros, because 0.9 - 0.8 is less than 0.1 in binary fractions.
        return bool(others) and (
            to_micros(confidence) - to_micros(max(others)) < to_micros(self.margin)
        )


@lru_cache(maxsize=8192)
def is_fallback(intent: str) -> bool:
    """Tell whether an intent means "not understood". NLUs often report those with confidence 1."""
    return intent.strip().lower().replace(" ", "_") in FALLBACK_INTENTS
