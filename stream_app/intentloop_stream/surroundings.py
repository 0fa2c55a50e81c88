"""What the parts of a pipeline share with the worker around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from intentloop_schemas import PiiRule
from intentloop_schemas.failpoint import Failpoint, no_failpoint
from intentloop_schemas.pii import PLAIN
from intentloop_stream.backpressure import Backpressure
from intentloop_stream.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Who is told what happens, who tells the time, and what may be kept."""

    clock: Callable[[], int]
    """Wall time in epoch ms."""
    backpressure: Backpressure
    """Told while a part waits for something outside of the process."""
    metrics: Metrics
    """Told what becomes of the records."""
    pii: PiiRule = PLAIN
    """What is kept of senders."""
    failpoint: Failpoint = no_failpoint
    """Called at named moments, for tests."""
