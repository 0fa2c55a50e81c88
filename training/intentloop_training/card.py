"""The model card: what a model was made of and how good it is, for people and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from intentloop_training.evaluation import Evaluation, Rate
from intentloop_training.examples import LabelledExample, SnapshotFacts
from intentloop_training.gate import Verdict
from intentloop_training.labels import Doubts
from intentloop_training.parameters import Parameters
from intentloop_training.report import Report
from intentloop_training.selection import Selection, SelectionRule

_JSON, _HTML = "card.json", "card.html"
CODE = {name: version(name) for name in ("intentloop", "scikit-learn", "numpy", "skops")}
"""What the model was made with."""


class LessonFacts(Report):
    """What was learned from, what was judged by, and what was left out and why."""

    lessons: int
    reviewed_lessons: int
    holdout: int
    left_out: dict[str, int]
    lessons_by_intent: dict[str, int]
    languages: dict[str, int]

    @classmethod
    def of(cls, selection: Selection, rows: Sequence[LabelledExample]) -> LessonFacts:
        """Describe a selection of rows."""
        return cls(
            lessons=len(selection.lessons),
            reviewed_lessons=sum(lesson.reviewed for lesson in selection.lessons),
            holdout=len(selection.holdout),
            left_out={reason: count for reason, count in selection.left_out.items() if count},
            lessons_by_intent=_counts(lesson.intent for lesson in selection.lessons),
            languages=_counts(row.language or "not said" for row in rows),
        )


class ModelCard(Report):
    """Everything that is known of a model."""

    version: str
    created_at: datetime
    snapshot: SnapshotFacts
    selection: LessonFacts
    selection_rule: SelectionRule
    parameters: Parameters
    temperature: float
    threshold: float
    training_seconds: float
    code: dict[str, str]
    evaluation: Evaluation
    review_rate: Rate
    logged_accuracy: Rate
    """How often the NLU that answered back then was right about the holdout."""
    doubts: dict[str, Doubts]
    compared_with: str | None
    verdict: Verdict

    def save(self, folder: Path) -> None:
        """Write the card as JSON and as a page that needs nothing else."""
        (folder / _JSON).write_text(self.model_dump_json(by_alias=True, indent=2) + "\n")
        (folder / _HTML).write_text(self.html(), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> ModelCard:
        """Read the card of a version. Raises OSError and pydantic.ValidationError."""
        return cls.model_validate_json((folder / _JSON).read_bytes())

    def html(self) -> str:
        """Return the card as an HTML page; whatever customers wrote or typed as intents is text."""
        return str(_template().render(card=self, width=_PLOT_WIDTH, height=_PLOT_HEIGHT))


_PLOT_WIDTH, _PLOT_HEIGHT = 320, 240


def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("intentloop_training", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda share: f"{100 * share:.1f} %"
    return environment.get_template("card.html")


def _counts(names: Any) -> dict[str, int]:
    return dict(Counter(names).most_common())
