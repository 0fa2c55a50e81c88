"""What is exported of an example, and on which side of a train/test split it belongs."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from intentloop_schemas.texts import is_held_out, normalise
from intentloop_sink.catalogue.examples import Example

DEFAULT_TEST_SHARE = 0.2


class Side(StrEnum):
    """Whether an example is to learn from, or to test what was learned."""

    TRAIN = "train"
    TEST = "test"


class Row(NamedTuple):
    """An example and its side."""

    example: Example
    side: Side


def side_of(text: str, test_share: float = DEFAULT_TEST_SHARE) -> Side:
    """Return the side of a text, always the same, whatever else the dataset holds.

    It is the side on which our own training puts it, if its share is the same. No text is on both,
    nor is one that differs only in case, punctuation or numbers. Of many texts about `test_share`
    are to test with.
    """
    return Side.TEST if is_held_out(normalise(text), test_share) else Side.TRAIN
