"""Which examples a model learns from, how much each counts, and which it is judged by.

Everything is decided by the normalised text, so that no text stands on both sides, and by a
checksum of it, so that a text stays where it is for ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from intentloop_schemas import texts
from intentloop_schemas.review import is_fallback
from intentloop_training.examples import LabelledExample
from intentloop_training.report import Report


class SelectionRule(Report):
    """How a dataset is divided.

    `holdout_share`: this share of all texts is kept for judging, never for learning. Raising it
    adds texts to the holdout, and none ever leaves. `min_confidence`: an example that nobody has
    reviewed is learned from only when the NLU was at least this sure. `max_per_text`: as many
    copies of one text count at most. `reviewed_weight`: how many unreviewed examples one that was
    reviewed outweighs.
    """

    holdout_share: float = 0.2
    min_confidence: float = 0.9
    max_per_text: int = 3
    reviewed_weight: float = 3.0


@dataclass(frozen=True)
class Lesson:
    """A text to learn from; `weight` is how much it counts."""

    key: str
    intent: str
    weight: float
    reviewed: bool


@dataclass(frozen=True)
class Selection:
    """What is learned from, what is judged by, and what was left out and why."""

    lessons: list[Lesson] = field(default_factory=list)
    holdout: list[LabelledExample] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def select(rows: Iterable[LabelledExample], rule: SelectionRule) -> Selection:
    """Divide the rows of a snapshot; the order of rows does not matter."""
    result = Selection()
    by_text = sorted(rows, key=lambda row: (row.key, row.id))
    for key, group in groupby(by_text, key=lambda row: row.key):
        copies = list(group)
        rejected = [row for row in copies if row.rejected]
        reviewed = [row for row in copies if row.reviewed and not row.rejected]
        if not key:
            result.left_out["without a word"] += len(copies)
        elif rejected and not reviewed:
            # Noise, abuse or somebody's data: what the model thought of it counts as little.
            result.left_out["rejected"] += len(copies)
        elif is_held_out(key, rule):
            result.holdout.extend(reviewed)
            result.left_out["kept for the holdout, not reviewed"] += len(copies) - len(reviewed)
        elif reviewed:
            # A person has spoken: what the model thought of the same text no longer counts.
            result.lessons.extend(_lessons(reviewed, rule, rule.reviewed_weight))
            result.left_out["a reviewed copy speaks for it"] += len(copies) - len(reviewed)
        else:
            trusted = [row for row in copies if _is_trusted(row, rule)]
            result.lessons.extend(_lessons(trusted, rule, 1.0))
            result.left_out["not reviewed and not sure"] += len(copies) - len(trusted)
    return result


def is_held_out(key: str, rule: SelectionRule) -> bool:
    """Tell whether a normalised text belongs to the holdout, now and for ever."""
    return texts.is_held_out(key, rule.holdout_share)


def _is_trusted(row: LabelledExample, rule: SelectionRule) -> bool:
    return row.confidence >= rule.min_confidence and not is_fallback(row.intent)


def _lessons(rows: Sequence[LabelledExample], rule: SelectionRule, weight: float) -> list[Lesson]:
    """Return one lesson for each label of one text."""
    counts = Counter(row.intent for row in rows)
    return [
        Lesson(rows[0].key, intent, weight * min(count, rule.max_per_text), rows[0].reviewed)
        for intent, count in sorted(counts.items())
    ]
