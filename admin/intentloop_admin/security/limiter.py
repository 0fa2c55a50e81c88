"""How often a key may ask, and the headers that tell it.

The headers are those of draft-ietf-httpapi-ratelimit-headers (versions 8 to 10): a policy, and what
is left of it.
"""

from __future__ import annotations

import time
from math import ceil

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from intentloop_admin.security.keys import Key

_POLICY = '"requests"'
_WINDOW_SECONDS = 60


class Limiter:
    """Counts requests a key in this process."""

    def __init__(self, requests_per_minute: int) -> None:
        self._usual = requests_per_minute
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def take(self, key: Key) -> tuple[bool, dict[str, str]]:
        """Count a request; tell whether it may go on, and what headers its answer gets."""
        quota = self._usual if key.requests_per_minute is None else key.requests_per_minute
        if not quota:
            return True, {}
        item = RateLimitItemPerMinute(quota)
        may_go_on = self._limiter.hit(item, key.id)
        reset_time, remaining = self._limiter.get_window_stats(item, key.id)
        wait = max(1, ceil(reset_time - time.time()))
        headers = {
            "RateLimit-Policy": f"{_POLICY};q={quota};w={_WINDOW_SECONDS}",
            "RateLimit": f"{_POLICY};r={remaining};t={wait}",
        }
        return may_go_on, headers if may_go_on else {**headers, "Retry-After": str(wait)}
