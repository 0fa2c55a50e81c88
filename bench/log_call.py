"""What `log()` costs, in a process of its own: `python -m bench.log_call SCENARIO SERVERS TOPIC`.

Prints one line of JSON. Times are in microseconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bench.percentiles import summary

SCENARIOS = (
    "tight loop",
    "100 calls a second",
    "an f-string alone, 100 times a second",
    "asyncio bot under load",
    "Kafka away",
)
_BURST = 5_000
"""Fewer than the logger's queue holds, so that no call is a cheap refusal."""
_NOWHERE = "127.0.0.1:9"
_PACED_SECONDS = 30.0
_RATE = 100
_TASKS = 200
_MESSAGES = 100
_NLU_SECONDS = 0.0003
"""How long the bot's own work for a message keeps the event loop."""


class Share(NamedTuple):
    """Processor time as a share of a core, in percent."""

    caller: float
    """Of the thread that calls."""
    process: float
    """Of all threads, the logger's too."""


@dataclass
class Calls:
    """Calls `log()` and keeps how long each took."""

    logger: Any
    took: list[float] = field(default_factory=list)
    taken: int = 0

    def log(self, number: int) -> None:
        """Log one message."""
        begin = time.perf_counter_ns()
        is_taken = self.logger.log(
            phone_number=f"+1555{number % 20_000:07d}",
            message_text="where is my order, it was due yesterday",
            intent="track_order",
            confidence=0.93,
            current_step="main_menu",
        )
        self.took.append((time.perf_counter_ns() - begin) / 1000)
        self.taken += is_taken

    def format_only(self, number: int) -> None:
        """Do next to nothing: what the machine itself takes when it was asleep before."""
        begin = time.perf_counter_ns()
        f"+1555{number:07d}"
        self.took.append((time.perf_counter_ns() - begin) / 1000)


def measure(scenario: str, servers: str, topic: str, scale: float) -> dict[str, Any]:
    """Run a scenario; return percentiles in microseconds."""
    from intentloop_producer import ConversationLogger, LoggerSettings
    from intentloop_schemas.kafka import KafkaSettings

    away = scenario == "Kafka away"
    with tempfile.TemporaryDirectory() as journal:
        settings = LoggerSettings(topic=topic, journal_dir=Path(journal))
        kafka = KafkaSettings(bootstrap_servers=_NOWHERE if away else servers)
        logger = ConversationLogger(settings, kafka=kafka)
        calls = Calls(logger)
        # The first call starts the thread; later ones are what a bot lives with.
        calls.log(0)
        logger.flush(2)
        calls = Calls(logger)
        share = _RUN[scenario](calls, scale)
        logger.close(1)
    return {
        "scenario": scenario,
        "calls": len(calls.took),
        "taken": calls.taken,
        "cpu_percent": share and share._asdict(),
        **summary(calls.took),
    }


def _bursts(calls: Calls, scale: float) -> None:
    """Call as fast as can be, as much as the queue holds; wait, untimed, until it is empty."""
    for burst in range(max(1, round(20 * scale))):
        for number in range(_BURST):
            calls.log(burst * _BURST + number)
        calls.logger.flush(10)


def _bursts_away(calls: Calls, scale: float) -> None:
    """The same while nothing can be delivered: the journal takes what the queue holds."""
    for burst in range(max(1, round(4 * scale))):
        for number in range(_BURST):
            calls.log(burst * _BURST + number)
        time.sleep(2.0)


def _paced(calls: Calls, scale: float) -> Share:
    """Call 100 times a second; return what that takes more than the same loop without it."""
    without = _cpu_share(Calls(calls.logger).format_only, scale)
    share = _cpu_share(calls.log, scale)
    return Share(*(round(each - less, 3) for each, less in zip(share, without, strict=True)))


def _paced_format(calls: Calls, scale: float) -> None:
    """Pace the same way what costs nothing."""
    _cpu_share(calls.format_only, scale)


def _cpu_share(call: Callable[[int], None], scale: float) -> Share:
    caller, process, begin = time.thread_time(), time.process_time(), time.perf_counter()
    for number in range(round(_PACED_SECONDS * scale * _RATE)):
        pause = begin + number / _RATE - time.perf_counter()
        if pause > 0:
            time.sleep(pause)
        call(number)
    percent = 100 / (time.perf_counter() - begin)
    return Share((time.thread_time() - caller) * percent, (time.process_time() - process) * percent)


def _bot(calls: Calls, scale: float) -> None:
    """Call from many conversations at a time, each of which computes and waits in turn."""
    asyncio.run(_conversations(calls, round(_TASKS * scale) or 1))


async def _conversations(calls: Calls, tasks: int) -> None:
    async def converse(sender: int) -> None:
        for _ in range(_MESSAGES):
            end = time.perf_counter() + _NLU_SECONDS
            while time.perf_counter() < end:
                pass
            calls.log(sender)
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        for sender in range(tasks):
            group.create_task(converse(sender))


_RUN: dict[str, Callable[[Calls, float], Share | None]] = dict(
    zip(SCENARIOS, (_bursts, _paced, _paced_format, _bot, _bursts_away), strict=True)
)


if __name__ == "__main__":
    chosen, where, to_topic, part = sys.argv[1:]
    print(json.dumps(measure(chosen, where, to_topic, float(part))))
