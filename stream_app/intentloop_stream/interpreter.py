"""How the interpreter divides its time, in processes that many events go through."""

from __future__ import annotations

import gc
import sys


def favour_throughput() -> None:
    """Let the garbage collector look less often, and threads take turns more often.

    Events form no cycles, yet a collection walks all that wait for the store: decoding took twice
    as long with the defaults. And the store's thread needs the interpreter for moments only, some
    ten times a transaction; behind a thread that decodes it waited 5 ms or more for one by default.
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
    sys.setswitchinterval(0.001)
