"""How people type: capitals, exclamation marks, a polite word, and now and then a slip."""

from __future__ import annotations

import re
from random import Random

CASUAL_SHARE = 0.3
SLIP_SHARE = 0.08
_LATIN_WORD = re.compile(r"[a-zA-Z]{5,}")


def as_typed(text: str, rng: Random) -> str:
    """Return a text as somebody in a hurry might type it; most texts stay as they are."""
    if rng.random() < SLIP_SHARE:
        text = with_slip(text, rng)
    if rng.random() < CASUAL_SHARE:
        text = _casual(text, rng)
    return text


def _casual(text: str, rng: Random) -> str:
    capital = text[:1].upper() + text[1:]
    return rng.choice([capital, capital, f"{capital}.", text.upper(), f"{text}!!", f"{text} ..."])


def with_slip(text: str, rng: Random) -> str:
    """Drop, double or swap a letter of one longer word; other scripts are left alone."""
    words = list(_LATIN_WORD.finditer(text))
    if not words:
        return text
    word = rng.choice(words)
    at = rng.randrange(word.start() + 1, word.end() - 1)
    left, letter, right = text[:at], text[at], text[at + 1 :]
    return rng.choice([left + right, left + letter * 2 + right, _swapped(text, at)])


def _swapped(text: str, at: int) -> str:
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
