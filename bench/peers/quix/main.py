"""Quix Streams with a sink of our own, as its documentation teaches: subclass BatchingSink.

Its windows were not taken: `.final()` drops what comes when a partition is read ahead of another,
and `group_by` sends everything through Kafka a second time. The sums are added up in the sink.
"""

from __future__ import annotations

import os
from typing import Any

import orjson
import psycopg2
from quixstreams import Application
from quixstreams.sinks import BatchingSink, SinkBatch

from bench.peers import rows

COMMIT_EVERY = 40_000


class CopySink(BatchingSink):
    """Writes the rows and sums of a partition in one transaction at every checkpoint."""

    def setup(self) -> None:
        """Connect."""
        self._connection = psycopg2.connect(os.environ["DATABASE_URL"])

    def write(self, batch: SinkBatch) -> None:
        """Write a batch."""
        events: list[dict[str, Any]] = [item.value for item in batch]
        with self._connection, self._connection.cursor() as cursor:
            rows.write(cursor, list(map(rows.line, events)), rows.add_up(events))


def _decode(value: bytes) -> Any:
    rows.say_ready()
    return orjson.loads(value)


def main() -> None:
    """Run until told to end."""
    app = Application(
        broker_address=os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        consumer_group=os.environ["INTENTLOOP_GROUP"],
        auto_offset_reset="earliest",
        commit_every=COMMIT_EVERY,
        auto_create_topics=False,
        use_changelog_topics=False,
        state_dir=os.path.join(os.environ["BENCH_FOLDER"], "state"),  # noqa: PTH118 - as it asks
        loglevel="WARNING",
    )
    topic = app.topic(os.environ["INTENTLOOP_TOPIC"], value_deserializer="bytes")
    app.dataframe(topic).apply(_decode).sink(CopySink())
    app.run()


if __name__ == "__main__":
    main()
