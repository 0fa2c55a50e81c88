"""Traffic that happens as time passes: new conversations now and then, each turn at its moment."""

from __future__ import annotations

import heapq
from itertools import count
from random import Random

from intentloop_demo.traffic import Customers, Delivery, deliver


class LiveTraffic:
    """Hands out deliveries as they fall due; `rate` is new conversations a second.

    Time is what `due` is told, in epoch ms; it must not go back.
    """

    def __init__(self, customers: Customers, rate: float, start_ms: int, rng: Random) -> None:
        self._customers = customers
        self._mean_gap_ms = 1000 / rate
        self._next_start = float(start_ms)
        self._rng = rng
        self._pending: list[tuple[int, int, Delivery]] = []
        self._order = count()

    def due(self, now_ms: int) -> list[Delivery]:
        """Return everything that has reached the bot up to now and was not handed out before."""
        while self._next_start <= now_ms:
            self._begin(round(self._next_start))
            self._next_start += self._rng.expovariate(1 / self._mean_gap_ms)
        arrived = []
        while self._pending and self._pending[0][0] <= now_ms:
            arrived.append(heapq.heappop(self._pending)[2])
        return arrived

    def _begin(self, start_ms: int) -> None:
        for delivery in deliver(self._customers.converse(start_ms), self._rng):
            heapq.heappush(self._pending, (delivery.at, next(self._order), delivery))
