"""What the logger costs a bot: importing it, and a call."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from support.loggers import Make, log

pytestmark = pytest.mark.usefixtures("clean_environment")


def milliseconds_to_run(code: str) -> float:
    script = f"import time; start = time.perf_counter()\n{code}\n"
    script += "print((time.perf_counter() - start) * 1000)"
    runs = [
        subprocess.run(
            [sys.executable, "-c", script], check=True, capture_output=True, text=True
        ).stdout
        for _ in range(3)
    ]
    return min(map(float, runs))


def test_importing_it_costs_a_fraction_of_the_libraries_it_uses() -> None:
    ours = milliseconds_to_run("from intentloop_producer import ConversationLogger")
    theirs = milliseconds_to_run("import confluent_kafka, pydantic, pydantic_settings")
    print(f"import: {ours:.0f} ms; confluent_kafka, pydantic, pydantic_settings: {theirs:.0f} ms")
    assert ours < theirs / 3


def test_importing_it_loads_none_of_them() -> None:
    code = "import sys, intentloop_producer; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert not {"pydantic", "pydantic_settings", "confluent_kafka", "asyncio"} & set(loaded)


def percentile(costs: list[int], share: float) -> int:
    return sorted(costs)[int(len(costs) * share)]


def costs_of(call: Callable[[], object], times: int) -> list[int]:
    costs = []
    for _ in range(times):
        start = time.perf_counter_ns()
        call()
        costs.append(time.perf_counter_ns() - start)
    return costs


def test_a_call_costs_about_what_a_line_in_the_log_costs(make: Make) -> None:
    line = logging.getLogger("test.a_line")
    line.setLevel(logging.INFO)
    line.addHandler(logging.FileHandler(os.devnull))
    line.propagate = False
    lines = costs_of(lambda: line.info("where is my order? %s", 0.95), 20_000)

    logger = make(queue_size=1_000_000)
    calls = costs_of(lambda: log(logger), 20_000)

    shares = (0.5, 0.99, 0.999)
    print("log() p50 p99 p99.9 in us:", [percentile(calls, share) / 1000 for share in shares])
    print("a log line p50 p99 p99.9: ", [percentile(lines, share) / 1000 for share in shares])
    assert percentile(calls, 0.5) < 2 * percentile(lines, 0.5)
    assert percentile(calls, 0.99) < 5 * percentile(lines, 0.99)
