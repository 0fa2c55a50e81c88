"""The gate: whether a new model may answer customers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from intentloop_training.evaluation import Judgement
from intentloop_training.labels import Doubts, new_contradictions
from intentloop_training.report import Report
from intentloop_training.statistics import holm, mcnemar_worse


@dataclass(frozen=True)
class GateRule:
    """What a model has to show. `level` is the chance of stopping a model that is no worse.

    `min_holdout`: a holdout with fewer examples proves nothing.
    """

    level: float = 0.05
    min_holdout: int = 20


class Difference(Report):
    """What changed for one intent: examples that only the old, or only the new model gets right."""

    intent: str
    lost: int
    won: int
    p_value: float


class Verdict(Report):
    """Whether a model passes, and every reason why not, in words."""

    passed: bool
    reasons: list[str]
    differences: list[Difference]


@dataclass(frozen=True)
class Standing:
    """What is known of a model: its answers to the holdout, its intents, its doubtful labels."""

    version: str
    intents: Sequence[str]
    judgements: Sequence[Judgement]
    doubts: Mapping[str, Doubts] = field(default_factory=dict)


def decide(
    current: Standing | None, candidate: Standing, rule: GateRule, *, reviewed: int, rows: int
) -> Verdict:
    """Compare two models on the same holdout; the first model has nothing to be worse than.

    A model passes only if the holdout is large enough, it knows every intent that the current one
    knows, it gets no fewer examples right in total, no intent falls significantly (exact one-sided
    McNemar test for each intent, corrected by Holm), and no intent's labels have become
    significantly more doubtful. `reviewed` of `rows` examples of the dataset were reviewed.
    """
    reasons = _too_little(len(candidate.judgements), rule, reviewed, rows)
    differences: list[Difference] = []
    if current is not None:
        differences = _differences(current.judgements, candidate.judgements)
        reasons += _dropped(current, candidate)
        reasons += _total(current, candidate)
        reasons += _fallen(differences, rule)
        reasons += _doubtful(current, candidate, rule)
    return Verdict(passed=not reasons, reasons=reasons, differences=differences)


def _too_little(holdout: int, rule: GateRule, reviewed: int, rows: int) -> list[str]:
    if reviewed == 0:
        return [f"0 of {rows} reviewed"]
    if holdout < rule.min_holdout:
        needs = (
            f"the holdout has {holdout} messages and takes {rule.min_holdout} to judge a model; "
            f"{reviewed} of {rows} reviewed"
        )
        return [needs]
    return []


def _dropped(current: Standing, candidate: Standing) -> list[str]:
    dropped = sorted(set(current.intents) - set(candidate.intents))
    return [f"intents dropped: {', '.join(dropped)}"] if dropped else []


def _total(current: Standing, candidate: Standing) -> list[str]:
    before, after = (sum(j.is_right for j in s.judgements) for s in (current, candidate))
    if after >= before:
        return []
    size = len(candidate.judgements)
    return [f"{after} of {size} right, {current.version} gets {before}"]


def _differences(current: Sequence[Judgement], candidate: Sequence[Judgement]) -> list[Difference]:
    lost, won = Counter[str](), Counter[str]()
    for old, new in zip(current, candidate, strict=True):
        lost[old.example.intent] += old.is_right and not new.is_right
        won[old.example.intent] += new.is_right and not old.is_right
    return [
        Difference(
            intent=intent,
            lost=lost[intent],
            won=won[intent],
            p_value=mcnemar_worse(lost[intent], won[intent]),
        )
        for intent in sorted(lost)
        if lost[intent] or won[intent]
    ]


def _fallen(differences: Sequence[Difference], rule: GateRule) -> list[str]:
    fallen = holm({d.intent: d.p_value for d in differences}, rule.level)
    return [
        f"{d.intent} falls: {d.lost} right before and wrong now, {d.won} the other way round "
        f"(p = {d.p_value:.2g})"
        for d in differences
        if d.intent in fallen
    ]


def _doubtful(current: Standing, candidate: Standing, rule: GateRule) -> list[str]:
    return [str(one) for one in new_contradictions(current.doubts, candidate.doubts, rule.level)]
