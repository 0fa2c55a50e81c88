"""Stock Faust, tuned as its documentation teaches: an agent that takes many events at a time.

The serializer is raw and the decoder msgspec, since Faust's records cost more. COPY runs in a
thread, so that the event loop goes on reading.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from typing import Any

import faust
import msgspec
import psycopg2

from bench.peers import rows

TAKE = 5_000
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_connection = psycopg2.connect(os.environ["DATABASE_URL"])

app = faust.App(
    os.environ["INTENTLOOP_GROUP"],
    broker=f"kafka://{os.environ['KAFKA_BOOTSTRAP_SERVERS']}",
    store="memory://",
    datadir=tempfile.mkdtemp(dir=os.environ["BENCH_FOLDER"]),
    autodiscover=False,
    web_enabled=False,
    consumer_auto_offset_reset="earliest",
    broker_max_poll_records=TAKE,
    stream_buffer_maxsize=2 * TAKE,
    topic_allow_declare=False,
    topic_disable_leader=True,
    stream_wait_empty=False,
)
conversations = app.topic(os.environ["INTENTLOOP_TOPIC"], value_serializer="raw")


@app.on_partitions_assigned.connect
async def _assigned(*_: Any, **__: Any) -> None:
    rows.say_ready()


@app.agent(conversations)
async def store(stream: faust.StreamT[bytes]) -> None:
    """Write rows and sums of many events in one transaction."""
    async for values in stream.take(TAKE, within=1.0):
        await asyncio.to_thread(_write, values)


def _write(values: list[bytes]) -> None:
    events = [_decode(value) for value in values]
    with _connection, _connection.cursor() as cursor:
        rows.write(cursor, list(map(rows.line, events)), rows.add_up(events))


if __name__ == "__main__":
    app.main()
