"""What the parts of a pipeline share with the worker around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from intentloop_schemas.failpoint import Failpoint, no_failpoint
from intentloop_stream.backpressure import Backpressure
from intentloop_stream.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Who is told what happens, and who tells the time."""

    clock: Callable[[], int]
    """Wall time in epoch ms."""
    backpressure: Backpressure
    """Told while a part waits for something outside of the process."""
    metrics: Metrics
    """Told what becomes of the records."""
    failpoint: Failpoint = no_failpoint
    """Called at named moments, for tests."""
