"""Bytewax: one input, two branches, as its documentation teaches.

Its event clock belongs to a key, and keys are spread over all partitions, so whatever comes while
one partition is read ahead of another would be late. The clock therefore waits a day, and windows
close when the input ends: it reads what is there (tail=False).
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
import bytewax.operators.windowing as win
import orjson
import psycopg2
from bytewax.connectors.kafka import KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.run import cli_main

from bench.peers import rows

BATCH = 10_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WINDOW = timedelta(milliseconds=rows.WINDOW_MS)
_MILLISECOND = timedelta(milliseconds=1)
_SEPARATOR = "\x1f"
Window = tuple[str, tuple[int, rows.Sums]]


class _Rows(StatelessSinkPartition[dict[str, Any]]):
    def __init__(self) -> None:
        self._connection = psycopg2.connect(os.environ["DATABASE_URL"])

    def write_batch(self, events: list[dict[str, Any]]) -> None:
        with self._connection, self._connection.cursor() as cursor:
            rows.copy(cursor, list(map(rows.line, events)))


class _Windows(StatelessSinkPartition[Window]):
    """Windows come one key at a time; they are written many at a time."""

    def __init__(self) -> None:
        self._connection = psycopg2.connect(os.environ["DATABASE_URL"])
        self._closed: dict[rows.Key, rows.Sums] = {}

    def write_batch(self, windows: list[Window]) -> None:
        for key, (number, sums) in windows:
            dataset, intent, channel, model = key.split(_SEPARATOR)
            start = number * rows.WINDOW_MS
            self._closed[dataset, intent, channel, model, start, 30] = sums
        if len(self._closed) >= BATCH:
            self._flush()

    def close(self) -> None:
        if self._closed:
            self._flush()

    def _flush(self) -> None:
        with self._connection, self._connection.cursor() as cursor:
            rows.upsert(cursor, "intent_window_stats", self._closed)
        self._closed.clear()


class RowSink(DynamicSink[dict[str, Any]]):
    """Copies rows."""

    def build(self, _step: str, _index: int, _count: int) -> _Rows:
        """Return the part of one worker."""
        return _Rows()


class WindowSink(DynamicSink[Window]):
    """Writes closed windows."""

    def build(self, _step: str, _index: int, _count: int) -> _Windows:
        """Return the part of one worker."""
        return _Windows()


def flow() -> Dataflow:
    """Return the dataflow."""
    flow = Dataflow("bench")
    source = KafkaSource(
        [os.environ["KAFKA_BOOTSTRAP_SERVERS"]],
        [os.environ["INTENTLOOP_TOPIC"]],
        tail=False,
        batch_size=BATCH,
    )
    events = op.map("decode", op.input("kafka", flow, source), _decode)
    op.output("rows", events, RowSink())
    windows = win.fold_window(
        "windows",
        op.key_on("key", events, _key),
        win.EventClock(_time, wait_for_system_duration=timedelta(days=1)),
        win.TumblingWindower(length=_WINDOW, align_to=_EPOCH),
        rows.blank,
        _add,
        rows.merge,
        ordered=False,
    )
    op.output("sums", windows.down, WindowSink())
    return flow


def _decode(message: KafkaSourceMessage[Any, Any]) -> dict[str, Any]:
    event: dict[str, Any] = orjson.loads(message.value)
    return event


def _key(event: dict[str, Any]) -> str:
    return _SEPARATOR.join(rows.window_key(event)[:4])


def _time(event: dict[str, Any]) -> datetime:
    return _EPOCH + event["timestamp"] * _MILLISECOND


def _add(sums: rows.Sums, event: dict[str, Any]) -> rows.Sums:
    return rows.add(sums, event["confidence"], event["timestamp"])


if __name__ == "__main__":
    rows.say_ready()
    cli_main(flow())
