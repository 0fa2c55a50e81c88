"""Everything that the building of a model can be told."""

from __future__ import annotations

from dataclasses import dataclass, field

from intentloop_schemas import ReviewRule
from intentloop_training.gate import GateRule
from intentloop_training.parameters import Parameters
from intentloop_training.selection import SelectionRule


@dataclass(frozen=True)
class Recipe:
    """What is learned from, how, what the model has to show, and when its answers are flagged."""

    parameters: Parameters = field(default_factory=Parameters)
    selection: SelectionRule = field(default_factory=SelectionRule)
    gate: GateRule = field(default_factory=GateRule)
    review: ReviewRule = field(default_factory=ReviewRule)
