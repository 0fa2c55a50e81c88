"""What a model makes of a message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

OUT_OF_SCOPE = "out_of_scope"
"""What a model answers when no intent is likely enough."""


class Guess(NamedTuple):
    """An intent and the probability, from 0 to 1, that it is the right one."""

    intent: str
    confidence: float


class Prediction(NamedTuple):
    """The answer, and the other guesses, best first."""

    intent: str
    confidence: float
    alternatives: tuple[Guess, ...]


class Nlu(Protocol):
    """Understands messages."""

    @property
    def version(self) -> str:
        """Names the model."""
        ...

    @property
    def intents(self) -> Sequence[str]:
        """The intents that it knows, sorted."""
        ...

    def parse(self, texts: Sequence[str]) -> list[Prediction]:
        """Return what each text means. Many at once are far quicker than one by one."""
        ...
