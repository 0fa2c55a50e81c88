"""When two texts are the same text."""

from __future__ import annotations

import re
import unicodedata
from hashlib import sha256

_DIGITS = re.compile(r"\d+")
# Letters, digits and the marks that scripts such as Devanagari write vowels with.
_BETWEEN_WORDS = re.compile(r"[^\w\u0900-\u0dff]+")
_EMPHASIS = re.compile(r"(.)\1{2,}")
_BUCKETS = 2**32


def normalise(text: str) -> str:
    """Fold what does not matter: case, punctuation, which number, and laaarge emphasis.

    Texts that are equal afterwards are one text: they never stand on both sides of a split.
    """
    text = unicodedata.normalize("NFKC", text).lower().replace("'", "").replace("\u2019", "")
    words = _BETWEEN_WORDS.sub(" ", _DIGITS.sub("0", text)).strip()
    return _EMPHASIS.sub(r"\1\1", words)


def place(text: str, purpose: str) -> float:
    """Return where a normalised text falls between 0 and 1: always there, on every machine.

    A SHA-256 is as good as random. Another `purpose` gives another, independent place.
    """
    digest = sha256(f"{purpose}\n{text}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / _BUCKETS
