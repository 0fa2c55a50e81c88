"""When to try again: later each time, and never all bots at once."""

from __future__ import annotations

from collections.abc import Callable

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 10.0
LASTING_SECONDS = 30.0
"""Between attempts while only a person can help."""
HURRIED_SECONDS = 1.0
"""Between attempts while somebody waits for the end."""
_MOST_DOUBLINGS = 10


class Retry:
    """Times the attempts at something that fails; `clock` and `jitter` (0 to 1) are arguments."""

    def __init__(self, clock: Callable[[], float], jitter: Callable[[], float]) -> None:
        self._clock = clock
        self._jitter = jitter
        self._failures = 0
        self._due_at = self._hurried_at = float("-inf")

    def is_due(self, *, hurry: bool) -> bool:
        """Tell whether to try now."""
        return self._clock() >= (self._hurried_at if hurry else self._due_at)

    def succeeded(self) -> None:
        """Begin anew."""
        self._failures = 0

    def failed(self, *, is_lasting: bool = False, retry_after: float | None = None) -> None:
        """Wait before the next attempt: a doubling pause, or as long as was asked."""
        if retry_after is None:
            pause = self._pause(is_lasting=is_lasting)
            hurried = min(pause, HURRIED_SECONDS)
        else:
            pause = hurried = retry_after + self._jitter()
        self._due_at, self._hurried_at = self._clock() + pause, self._clock() + hurried

    def _pause(self, *, is_lasting: bool) -> float:
        doubled = FIRST_SECONDS * 2 ** min(self._failures, _MOST_DOUBLINGS)
        self._failures += 1
        pause = LASTING_SECONDS if is_lasting else min(doubled, LONGEST_SECONDS)
        return pause * (1 + self._jitter()) / 2
