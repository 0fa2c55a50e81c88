"""What is exported of an example, and on which side of a train/test split it belongs."""

from __future__ import annotations

import unicodedata
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple

from intentloop_sink.catalogue.examples import Example

DEFAULT_TEST_SHARE = 0.2
_DIGEST_BYTES = 8


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

    It depends on nothing but the text, so that no text is on both sides; nor is one that differs
    from it in case, white space or the way its characters are composed. `test_share` is a
    probability: of many texts about so many are to test with.
    """
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    digest = sha256(plain.encode()).digest()[:_DIGEST_BYTES]
    is_test = int.from_bytes(digest, "big") < test_share * 2 ** (8 * _DIGEST_BYTES)
    return Side.TEST if is_test else Side.TRAIN
