"""Changes to a bot or a worker: code that runs before it begins."""

from __future__ import annotations

JUMPING_CLOCK = """
import itertools, time
true_time, jumps = time.time_ns, itertools.cycle([0, -3_600, 7_200, -90_000])
offset, until = 0, 0
def jump():
    global offset, until
    if true_time() > until:
        offset, until = next(jumps) * 10**9, true_time() + 10**9
    return true_time() + offset
time.time_ns, time.time = jump, lambda: jump() / 1e9
"""
"""The wall clock goes hours to and fro, every second."""
