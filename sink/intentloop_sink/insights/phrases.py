"""Phrases that customers use more than they did. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import log
from typing import NamedTuple

from intentloop_sink.review.cards import normalise

MAX_WORDS = 3
MIN_COUNT = 5
MIN_GROWTH = 2.0
SIGNIFICANT = 10.83
"""Of the chi-squared distribution with one degree of freedom, 0.1 % lies above."""
_SAME_SHARE = 0.8


class RisingPhrase(NamedTuple):
    """A phrase, in how many messages it was, and how many times as frequent it has become."""

    phrase: str
    messages: int
    before: int
    growth: float
    """Against one message more than there were before, so that a new phrase has a growth too."""


def rising_phrases(
    current: Sequence[str], reference: Sequence[str], limit: int = 10
) -> list[RisingPhrase]:
    """Return phrases of one to three words that rose most, the most surprising first.

    Surprise is the log-likelihood ratio of Dunning, "Accurate Methods for the Statistics of
    Surprise and Coincidence", Computational Linguistics 19 (1993); each message counts a phrase
    once. Of phrases that always come together only the longest is told.
    """
    now, before = _counts(current), _counts(reference)
    found = []
    for phrase, count in now.items():
        past = before[phrase]
        growth = _growth(count, len(current), past, len(reference))
        if count < MIN_COUNT or growth < MIN_GROWTH:
            continue
        surprise = log_likelihood_ratio(count, len(current), past, len(reference))
        if surprise >= SIGNIFICANT:
            found.append((surprise, RisingPhrase(" ".join(phrase), count, past, growth)))
    found.sort(key=lambda item: (-item[0], -len(item[1].phrase), item[1].phrase))
    return _without_parts([rising for _, rising in found])[:limit]


def log_likelihood_ratio(count_a: int, total_a: int, count_b: int, total_b: int) -> float:
    """Return G squared of the difference between two shares; 0 when they are the same."""
    if not total_a or not total_b:
        return 0.0
    pooled = (count_a + count_b) / (total_a + total_b)
    return 2 * (_gain(count_a, total_a, pooled) + _gain(count_b, total_b, pooled))


def _gain(count: int, total: int, pooled: float) -> float:
    gain = 0.0
    for seen, expected in ((count, pooled), (total - count, 1 - pooled)):
        if seen:
            gain += seen * log(seen / (total * expected))
    return gain


def _growth(count: int, total: int, past: int, past_total: int) -> float:
    if not past_total:
        return 0.0
    return (count / total) / ((past + 1) / past_total)


def _counts(texts: Iterable[str]) -> Counter[tuple[str, ...]]:
    counts: Counter[tuple[str, ...]] = Counter()
    for text, times in Counter(texts).items():
        for phrase in set(_phrases(normalise(text).split())):
            counts[phrase] += times
    return counts


def _phrases(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for length in range(1, MAX_WORDS + 1):
        for first in range(len(words) - length + 1):
            phrase = tuple(words[first : first + length])
            if any(len(word) > 2 for word in phrase):  # noqa: PLR2004 - "a", "to", "is" say nothing
                yield phrase


def _without_parts(found: Sequence[RisingPhrase]) -> list[RisingPhrase]:
    """Leave out what is part of a longer phrase that is about as frequent."""
    kept: list[RisingPhrase] = []
    for one in sorted(found, key=lambda r: -len(r.phrase.split())):
        if not any(_is_part(one, other) for other in kept):
            kept.append(one)
    order = {rising.phrase: place for place, rising in enumerate(found)}
    return sorted(kept, key=lambda r: order[r.phrase])


def _is_part(one: RisingPhrase, other: RisingPhrase) -> bool:
    is_inside = f" {one.phrase} " in f" {other.phrase} "
    return is_inside and other.messages >= _SAME_SHARE * one.messages
