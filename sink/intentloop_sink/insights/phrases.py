"""Phrases that customers use more than they did. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import log
from typing import NamedTuple

from intentloop_sink.review.cards import normalise

MAX_WORDS = 3
MIN_WORD = 3
"""Characters; phrases of shorter words alone ("is it") say nothing."""
MIN_COUNT = 5
MIN_GROWTH = 2.0
SIGNIFICANT = 15.14
"""Of the chi-squared distribution with one degree of freedom, 0.01 % lies above: thousands of
phrases are looked at, and some of them rise by chance."""
_NEW_SHARE = 0.5


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
    once. Of phrases that come in the same messages one is told: that of the rarest words.
    """
    now, before = _counts(current), _counts(reference)
    risen = []
    for phrase, count in now.items():
        past = before[phrase]
        growth = _growth(count, len(current), past, len(reference))
        surprise = log_likelihood_ratio(count, len(current), past, len(reference))
        if not any(len(word) >= MIN_WORD for word in phrase):
            continue
        if count >= MIN_COUNT and growth >= MIN_GROWTH and surprise >= SIGNIFICANT:
            commonest = max(before[(word,)] for word in phrase)
            order = (-surprise, commonest, -len(phrase), phrase)
            risen.append((order, phrase, RisingPhrase(" ".join(phrase), count, past, growth)))
    ordered = [(phrase, rising) for _, phrase, rising in sorted(risen)]
    return _of_different_messages(ordered, current, limit)


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
            yield phrase


def _of_different_messages(
    ordered: Sequence[tuple[tuple[str, ...], RisingPhrase]], current: Sequence[str], limit: int
) -> list[RisingPhrase]:
    """Leave out phrases most of whose messages hold one that comes before."""
    homes: dict[tuple[str, ...], set[int]] = {phrase: set() for phrase, _ in ordered}
    for number, text in enumerate(current):
        for phrase in homes.keys() & set(_phrases(normalise(text).split())):
            homes[phrase].add(number)
    told: list[RisingPhrase] = []
    covered: set[int] = set()
    for phrase, rising in ordered:
        if len(homes[phrase] - covered) > _NEW_SHARE * len(homes[phrase]):
            told.append(rising)
            covered |= homes[phrase]
    return told[:limit]
