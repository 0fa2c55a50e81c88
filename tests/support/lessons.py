"""Small data that real models train on in a second: the demo's utterances."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from random import Random

from intentloop_demo.typing_noise import with_slip
from intentloop_demo.utterances import Utterance, load_utterances
from intentloop_training.examples import LabelledExample, Snapshot
from intentloop_training.selection import SelectionRule, is_held_out
from intentloop_training.text import normalise

DATASET = "ds-test"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOME_INTENTS = (
    "track_order", "cancel_order", "refund_status", "greeting", "thanks", "store_hours",
    "order_food", "coupon",
)  # fmt: skip


def some_utterances(intents: Iterable[str] = SOME_INTENTS) -> list[Utterance]:
    wanted = set(intents)
    return [one for one in load_utterances() if one.intent in wanted]


def reviewed(utterances: Iterable[Utterance], prefix: str = "ex") -> list[LabelledExample]:
    return [
        LabelledExample(
            id=f"{prefix}-{number}",
            text=one.text,
            intent=one.intent,
            predicted_intent=one.intent,
            confidence=0.6,
            reviewed=True,
            created_at=NOW + timedelta(seconds=number),
            language=one.language,
        )
        for number, one in enumerate(utterances)
    ]


def misspelt(utterances: Iterable[Utterance], times: int, seed: int = 1) -> list[Utterance]:
    """Each utterance and several misspelt variants of it."""
    rng = Random(seed)
    return [
        one if time == 0 else one._replace(text=with_slip(one.text, rng))
        for one in utterances
        for time in range(times)
    ]


def snapshot(rows: Iterable[LabelledExample]) -> Snapshot:
    return Snapshot.of(DATASET, NOW, rows)


def is_lesson(text: str) -> bool:
    """Whether a text may be learned from at all."""
    return not is_held_out(normalise(text), SelectionRule())
