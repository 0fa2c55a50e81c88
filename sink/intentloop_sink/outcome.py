"""What became of a group of batches: a closed union, to be matched once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from intentloop_schemas import DeadLetterReason, Entry, TopicPartition


class Refusal(NamedTuple):
    """An entry that can never be stored, and why: it belongs to the dead letters."""

    partition: TopicPartition
    entry: Entry
    reason: DeadLetterReason
    error: str


@dataclass(frozen=True, slots=True)
class Stored:
    """Committed: results and progress together. Everything below `next_positions` is safe."""

    next_positions: Mapping[TopicPartition, int]
    """Where each partition of the group stands now."""
    stored: int = 0
    """Examples that are new."""
    duplicates: int = 0
    """Events that were there before."""
    rejected: int = 0
    """Records that are not stored: they went to the dead letters, or are suppressed."""
    suppressed: int = 0
    """Of the rejected, those of erased senders and those past their dataset's retention."""
    flagged: int = 0
    """Of the stored, those that need review."""
    batches: int = 0
    """Batches of the configured size, as they were closed."""
    fenced: int = 0
    """Records that were left out because their positions had been stored before."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was stored. Take these out with `without`, prepare again and store the rest."""

    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class OutOfTurn:
    """Nothing was stored: a range does not begin where its partition stands.

    Read the partition again from `expected`.
    """

    partition: TopicPartition
    expected: int


@dataclass(frozen=True, slots=True)
class Retry:
    """Nothing was stored. The database is well; the same group may pass when tried again."""

    error: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The database is away, or failed in a way that nobody foresaw (then it was logged).

    Nothing was stored, unless the answer to a COMMIT was lost; trying again is safe either way.
    """

    error: str


Outcome: TypeAlias = Stored | Refused | OutOfTurn | Retry | Unavailable
