"""What pages know of training.

Whoever runs jobs gives `Services.training` something of this shape; without it no page offers any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as a page shows it."""

    id: str
    status: str
    """In words: waiting, running, done, failed."""
    progress: float
    """From 0 to 1."""
    detail: str
    """The step it is at, what came of it, or why it failed."""
    started_at: datetime
    is_over: bool


class Training(Protocol):
    """Starts training jobs and tells how they are. Raises ProblemError when it cannot now."""

    async def start(self, dataset_id: str, started_by: str) -> JobView:
        """Start training on a dataset."""
        ...

    async def jobs(self, dataset_id: str) -> Sequence[JobView]:
        """Return the latest jobs of a dataset, the newest first."""
        ...
