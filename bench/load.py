"""An open-loop load: events leave by a timetable, whatever happened to those before.

Run as a process of its own, so that it shares no interpreter with what measures:
`python -m bench.load SERVERS TOPIC RATE SECONDS`. Every event carries the time at which it was due.
It prints how many seconds the latest event left after its time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

from confluent_kafka import Producer

from bench.contestant import PYTHON

_TICK_SECONDS = 0.002
_HEAD_START_SECONDS = 1.0
_TEXT = (
    '{"phoneNumber":"+1555%07d","messageText":"due %d","intent":"intent_%d","confidence":0.9,'
    '"timestamp":%d,"eventId":"%d-%d"}'
)


def start(bootstrap_servers: str, topic: str, rate: int, seconds: float) -> subprocess.Popen[str]:
    """Start the load in a process of its own."""
    command = [PYTHON, "-m", "bench.load", bootstrap_servers, topic, str(rate), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def due_at(value: bytes) -> int:
    """Return when an event of this load was due, in epoch microseconds."""
    return int(json.loads(value)["messageText"].removeprefix("due "))


def send(producer: Any, topic: str, rate: int, seconds: float) -> float:
    """Send `rate` events a second; return by how many seconds the latest left too late."""
    total = round(rate * seconds)
    begin = time.time() + _HEAD_START_SECONDS
    worst, sent = 0.0, 0
    while sent < total:
        now = time.time()
        until = min(total, int((now - begin) * rate) + 1 if now >= begin else 0)
        for number in range(sent, until):
            due = begin + number / rate
            sender = number * 7919 % 20_000
            value = _TEXT % (sender, due * 1e6, number % 40, due * 1e3, begin * 1e6, number)
            producer.produce(topic, value.encode(), key=str(sender))
            worst = max(worst, time.time() - due)
        sent = max(sent, until)
        producer.poll(0)
        time.sleep(_TICK_SECONDS)
    return worst


def main() -> None:
    """Send the load that the arguments describe."""
    servers, topic, rate, seconds = sys.argv[1:]
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "linger.ms": 2,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    worst = send(producer, topic, int(rate), float(seconds))
    if producer.flush(60):
        raise RuntimeError("Kafka did not take the load in 60 s")
    sys.stdout.write(f"{worst:.6f}\n")


if __name__ == "__main__":
    main()
