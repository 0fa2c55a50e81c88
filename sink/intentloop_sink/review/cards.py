"""What makes two messages the same card, and how much a card is worth a look. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from enum import StrEnum
from hashlib import sha256
from typing import Any

from intentloop_schemas.review import is_fallback

_ID_DIGITS = 32
_APOSTROPHES = frozenset("'\u2019\u2018\u02bc`")


class Queue(StrEnum):
    """Two queues that never mix."""

    FLAGGED = "flagged"
    """Everything that the review rule flags."""
    AUDIT = "audit"
    """A daily random sample of what it does not flag."""


class State(StrEnum):
    """Where a card stands."""

    OPEN = "open"
    UNSURE = "unsure"
    """Set aside for somebody who knows."""
    DECIDED = "decided"
    CLOSED = "closed"
    """Nothing is left to decide: its messages were reviewed elsewhere, or deleted."""


class Verdict(StrEnum):
    """What a reviewer says of a card."""

    ACCEPT = "accept"
    """The model is right."""
    CORRECT = "correct"
    """It is another intent."""
    REJECT = "reject"
    """Not fit for training: noise, abuse, or somebody's data."""
    OUT_OF_SCOPE = "out_of_scope"
    """The bot is not made for it."""
    UNSURE = "unsure"
    """Somebody else has to decide."""


def normalise(text: str) -> str:
    """Fold case, width, punctuation, symbols and white space; a text of nothing else stays.

    Digits stay: "1" and "2" are different answers to a menu.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = folded.translate(_kept).split()
    return " ".join(words or folded.split())


class _Kept(dict[int, str]):
    """What each character becomes; there are few, so they are remembered."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        # Letters with all their marks (Devanagari vowels are marks), and digits.
        is_kept = unicodedata.category(character)[0] in "LMN"
        self[code] = "" if character in _APOSTROPHES else character if is_kept else " "
        return self[code]


_kept = _Kept()


def card_id(dataset_id: str, normalised_text: str, step: str) -> str:
    """Return the id of the card that holds a text at a step of the dialogue."""
    return _digest(Queue.FLAGGED, dataset_id, step, normalised_text)


def audit_card_id(dataset_id: str, example_id: str) -> str:
    """Return the id of the card of one audited example."""
    return _digest(Queue.AUDIT, dataset_id, example_id)


def uncertainty(
    intent: str, confidence: float, alternatives: Iterable[Mapping[str, Any]] | None
) -> float:
    """Return from 0 to 1 how little the model knew.

    1 for a fallback. With other guesses one minus the margin between the best two (Scheffer et
    al. 2001), else least confidence, 1 - p (Lewis and Gale 1994); both in Settles, "Active
    Learning Literature Survey" (2009), section 3.1.
    """
    if is_fallback(intent):
        return 1.0
    others = [float(a["confidence"]) for a in alternatives or () if a["intent"] != intent]
    margin = confidence - max(others) if others else confidence
    return min(1.0, max(0.0, 1.0 - margin))


def _digest(*parts: str) -> str:
    return sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:_ID_DIGITS]
