"""Where an export comes from: enough to make it again, and to know what it was."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib.metadata import version
from typing import Any

from intentloop_sink.export.row import Row, Side
from intentloop_sink.export.selection import Selection


@dataclass(slots=True)
class Tally:
    """What was written."""

    sides: Counter[Side] = field(default_factory=Counter)
    intents: Counter[str] = field(default_factory=Counter)

    def add(self, rows: Iterable[Row]) -> None:
        """Count rows."""
        for row in rows:
            self.sides[row.side] += 1
            self.intents[row.example.intent] += 1

    def as_json(self) -> dict[str, Any]:
        """Return the counts for JSON."""
        return {
            "examples": self.sides.total(),
            **{side.value: self.sides[side] for side in Side},
            "intents": dict(sorted(self.intents.items())),
        }


@dataclass(frozen=True, slots=True)
class Provenance:
    """What was selected, and from what state of the dataset."""

    selection: Selection
    as_of: datetime
    matching: int
    """Examples that meet the filter, whatever their side."""

    def of_side(self, side: Side) -> Provenance:
        """Return where the file of one side comes from."""
        return replace(self, selection=replace(self.selection, side=side))

    def as_json(self, tally: Tally | None = None) -> dict[str, Any]:
        """Return it for JSON, with what was written once that is known."""
        chosen = self.selection
        return {
            "dataset": chosen.dataset_id,
            "asOf": self.as_of.isoformat().replace("+00:00", "Z"),
            "filter": chosen.filter.model_dump(mode="json", by_alias=True, exclude_none=True),
            "split": chosen.side or "both",
            "testShare": chosen.test_share,
            "senders": "shown" if chosen.shows_senders else "masked",
            "matching": self.matching,
            "intentloop": version("intentloop"),
            **({"written": tally.as_json()} if tally else {}),
        }

    def as_text(self, tally: Tally | None = None) -> str:
        """Return it as one line of ASCII, which fits into headers and comments."""
        return json.dumps(self.as_json(tally), separators=(",", ":"))
