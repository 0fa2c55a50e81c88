"""What a key may do."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """A right. `admin` includes the others but `pii`, which is always given by name."""

    INGEST = "ingest"
    """Send conversations and logger reports."""
    READ = "read"
    """Read datasets, examples and statistics, with senders masked."""
    REVIEW = "review"
    """Correct examples and describe intents."""
    TRAIN = "train"
    """Start and stop training jobs."""
    ADMIN = "admin"
    """Create, rename and delete."""
    PII = "pii"
    """See senders, and filter by them."""

    def is_in(self, granted: frozenset[Scope]) -> bool:
        """Tell whether this right is among those granted."""
        return self in granted or (self is not Scope.PII and Scope.ADMIN in granted)
