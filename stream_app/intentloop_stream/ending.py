"""How a worker ends that cannot go on: one clear line, and a status that is not zero."""

from __future__ import annotations

FAILURE = 1
"""Exit status."""


class EndWorkerError(Exception):
    """The worker must end. The message tells the operator why, and what to do."""
