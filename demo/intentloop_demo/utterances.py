"""What customers write: `utterances.csv`, and its split into a taught and an unseen share."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import NamedTuple
from zlib import crc32

HELD_OUT_SHARE = 0.2


class Utterance(NamedTuple):
    """One message and what it means; `language` is a BCP 47 tag (`hi-Latn` is Hinglish)."""

    intent: str
    language: str
    text: str


class Split(NamedTuple):
    """The utterances that the NLU learns from, and those that it must not see before."""

    training: list[Utterance]
    held_out: list[Utterance]


def load_utterances() -> list[Utterance]:
    """Return all utterances in the order of the file."""
    text = files(__package__).joinpath("utterances.csv").read_text(encoding="utf-8")
    return [Utterance(*row) for row in csv.reader(text.splitlines()[1:])]


def split(utterances: Iterable[Utterance], held_out_share: float = HELD_OUT_SHARE) -> Split:
    """Hold back the same share, and at least one utterance, of each intent in each language."""
    groups: dict[tuple[str, str], list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        groups[utterance.intent, utterance.language].append(utterance)
    result = Split([], [])
    for group in groups.values():
        shuffled = sorted(group, key=_shuffle_key)
        held_out = _held_out_count(group, held_out_share)
        result.held_out.extend(shuffled[:held_out])
        result.training.extend(shuffled[held_out:])
    return result


def _held_out_count(group: Sequence[Utterance], share: float) -> int:
    return max(1, round(len(group) * share))


def _shuffle_key(utterance: Utterance) -> int:
    """Order by a checksum: as good as random, and the same on every machine."""
    return crc32(utterance.text.encode())
