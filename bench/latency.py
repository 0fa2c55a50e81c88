"""Latency: from the event to visible in Postgres, under an open-loop load; and of log() alone."""

from __future__ import annotations

import argparse
import json
import subprocess
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from bench import load, log_call, report
from bench.__main__ import FOLDER, say
from bench.contestant import PYTHON
from bench.ground import Ground, ground
from bench.percentiles import curve, summary
from bench.results import DEFAULT, Results, circumstances
from bench.workers import Poller, Sight, wait_for, workers

RATES = (10, 1_000, 20_000)
BATCH_SECONDS = (30.0, 1.0)
PARTITIONS = 4
POLL_SECONDS = 0.005
_WARM_UP_SECONDS = 5.0
_WARM_UP_RATE = 500
_PATIENCE_SECONDS = 120.0


def main() -> None:
    """Measure and write the report."""
    options = _options()
    with ground(FOLDER) as place:
        if "visible" in options.only:
            _all_visible(place, options)
        if "log" in options.only:
            _log_calls(place, options.results, options.log_scale)
    say(f"report: {report.write(options.results)}")


def _all_visible(place: Ground, options: argparse.Namespace) -> None:
    # A server that has just been started is slow at first; this run is not kept.
    _visible(place, _WARM_UP_RATE, 1.0, _WARM_UP_SECONDS)
    lines = Results(options.results, "latency", circumstances(place, seconds=options.seconds))
    for rate, batch_seconds in product(options.rates, BATCH_SECONDS):
        measured = _visible(place, rate, batch_seconds, options.seconds)
        lines.add("latency", rate=rate, batch_seconds=batch_seconds, **measured)
        say(f"{rate} events/s, BATCH_SECONDS {batch_seconds:g}: p50 {measured['p50']} ms")


def _visible(place: Ground, rate: int, batch_seconds: float, seconds: float) -> dict[str, Any]:
    topic = f"latency-{rate}-{batch_seconds:g}"
    place.empty_topic(topic, PARTITIONS)
    with (
        place.database("bench_latency") as url,
        workers(place, topic, url, batch_seconds) as crew,
        Poller(url, POLL_SECONDS) as poller,
    ):
        crew.start()
        sender = load.start(place.bootstrap_servers, topic, rate, seconds + _WARM_UP_SECONDS)
        worst_ack, _ = sender.communicate(timeout=seconds + _PATIENCE_SECONDS)
        due = _due_times(place.bootstrap_servers, topic)
        total = sum(map(len, due.values()))
        wait_for(lambda: poller.stored() == total, _PATIENCE_SECONDS, f"{total} events stored")
    delays = latencies(due, poller.sights, _WARM_UP_SECONDS)
    return {
        "measured": len(delays),
        "worst_ack": round(float(worst_ack) * 1000, 2),
        **summary(delays),
        "curve": curve(delays),
    }


def latencies(
    due: Mapping[int, Sequence[int]], sights: Iterable[Sight], warm_up_seconds: float
) -> list[float]:
    """Return how many ms after its time every event was seen, but for those due at first.

    `due` has by partition when the event of each offset was due, in epoch microseconds.
    """
    seen: defaultdict[int, list[Sight]] = defaultdict(list)
    for sight in sights:
        seen[sight.partition].append(sight)
    begin = min(times[0] for times in due.values() if times) + warm_up_seconds * 1e6
    delays = []
    for partition, times in due.items():
        positions = [sight.next_position for sight in seen[partition]]
        for offset, time_due in enumerate(times):
            if time_due >= begin:
                sight = seen[partition][bisect_right(positions, offset)]
                delays.append(sight.seen_at * 1e3 - time_due / 1e3)
    return delays


def _due_times(bootstrap_servers: str, topic: str) -> dict[int, list[int]]:
    settings = {
        "bootstrap.servers": bootstrap_servers,
        "group.id": "bench-latency",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
    }
    due: dict[int, list[int]] = {number: [] for number in range(PARTITIONS)}
    with Consumer(settings) as consumer:
        consumer.assign([TopicPartition(topic, number, 0) for number in due])
        unfinished = set(due)
        while unfinished:
            for message in consumer.consume(10_000, 1.0):
                if message.error():
                    unfinished.discard(message.partition())
                else:
                    due[message.partition()].append(load.due_at(message.value() or b""))
    return due


def _log_calls(place: Ground, results: Path, scale: float) -> None:
    lines = Results(results, "log", circumstances(place))
    topic = "latency-log"
    place.empty_topic(topic, PARTITIONS)
    for scenario in log_call.SCENARIOS:
        command = [
            PYTHON,
            "-m",
            "bench.log_call",
            scenario,
            place.bootstrap_servers,
            topic,
            str(scale),
        ]
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
        measured = json.loads(answer.stdout.splitlines()[-1])
        lines.add("log", **measured)
        say(f"log(), {scenario}: p99 {measured['p99']} us")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of load at each rate")
    parser.add_argument("--rates", type=int, nargs="*", default=RATES)
    parser.add_argument("--only", nargs="*", default=["visible", "log"])
    parser.add_argument("--log-scale", type=float, default=1.0, help="share of the usual calls")
    parser.add_argument("--results", type=Path, default=DEFAULT)
    return parser.parse_args()


if __name__ == "__main__":
    main()
