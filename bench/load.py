"""An open-loop load: events leave by a timetable, whatever happened to those before.

Run as a process of its own, so that it shares no interpreter with what measures:
`python -m bench.load SERVERS TOPIC RATE SECONDS`. Every event carries the time at which it was due.
It prints how many seconds after its time the broker had acknowledged the slowest event.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

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


class Load:
    """Sends events on time, and knows the slowest acknowledgement, in seconds after its time."""

    def __init__(self, producer: Producer, topic: str) -> None:
        self.slowest = 0.0
        self._producer = producer
        self._topic = topic

    def send(self, rate: int, seconds: float) -> None:
        """Send `rate` events a second."""
        total = round(rate * seconds)
        begin = time.time() + _HEAD_START_SECONDS
        sent = 0
        while sent < total:
            due = max(0, int((time.time() - begin) * rate) + 1)
            for number in range(sent, min(due, total)):
                self._send(number, begin, begin + number / rate)
            sent = max(sent, min(due, total))
            self._producer.poll(0)
            time.sleep(_TICK_SECONDS)
        if self._producer.flush(60):
            raise RuntimeError("Kafka did not take the load in 60 s")

    def _send(self, number: int, begin: float, due: float) -> None:
        def acknowledged(error: object, _: object) -> None:
            if error is not None:
                raise RuntimeError(f"Kafka refused an event of the load: {error}")
            self.slowest = max(self.slowest, time.time() - due)

        sender = number * 7919 % 20_000
        value = _TEXT % (sender, due * 1e6, number % 40, due * 1e3, begin * 1e6, number)
        self._producer.produce(
            self._topic, value.encode(), key=str(sender), on_delivery=acknowledged
        )


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
    load = Load(producer, topic)
    load.send(int(rate), float(seconds))
    sys.stdout.write(f"{load.slowest:.6f}\n")


if __name__ == "__main__":
    main()
