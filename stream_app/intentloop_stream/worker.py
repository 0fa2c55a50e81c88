"""The Faust worker: settings in, a running pipeline out."""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import faust
import structlog
from faust.types import TP, EventT, StreamT

from intentloop_schemas import ReviewRule, TopicPartition
from intentloop_schemas.kafka import KafkaSettings
from intentloop_sink import DatabaseSettings, DatabaseUnavailableError, PostgresSink
from intentloop_stream import dead_letters
from intentloop_stream.broker import broker_urls, credentials
from intentloop_stream.group_commit import back_off
from intentloop_stream.pipeline import Pipeline
from intentloop_stream.processing import Decoder
from intentloop_stream.settings import WorkerSettings
from intentloop_stream.topics import topic_ids

_SHUTDOWN_SECONDS = 8.0
_MAX_RECORDS_PER_CHUNK = 5_000
_CHUNKS_IN_MEMORY = 4
_MAX_REQUEST_BYTES = 16 * 1024 * 1024

log = structlog.get_logger(__name__)


class IntentloopApp(faust.App):
    """A Faust app around a pipeline: it reads on where the store stands, and stops when stored."""

    kafka: KafkaSettings
    settings: WorkerSettings
    sink: PostgresSink

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.partitions: dict[TP, TopicPartition] = {}
        self.positioning = asyncio.Lock()

    async def on_start(self) -> None:
        """Check the schema and start the pipeline."""
        await super().on_start()
        _collect_seldom()
        await self._check_schema()
        self.pipeline = Pipeline(
            self.sink,
            Decoder(ReviewRule(self.settings.confidence_threshold), self.settings.window_seconds),
            batch_size=self.settings.batch_size,
            batch_ms=round(self.settings.batch_seconds * 1000),
            publish=partial(dead_letters.publish, self),
            reposition=self.consumer.perform_seek,
            earliest=self._earliest,
            clock=lambda: time.time_ns() // 1_000_000,
        )
        self.add_future(self.pipeline.run())

    async def on_stop(self) -> None:
        """Stop reading, then write and acknowledge what is open."""
        await super().on_stop()
        try:
            await asyncio.wait_for(self.pipeline.close(), _SHUTDOWN_SECONDS)
        except TimeoutError:
            log.warning("left_open", reason="the database did not answer; Kafka keeps the records")

    async def positions(self, assigned: set[TP]) -> dict[TP, int]:
        """Begin a new assignment; return the position to read each partition from.

        Waits as long as the store is away. Calls take turns: the last one has the last word.
        """
        async with self.positioning:
            ids = await asyncio.to_thread(topic_ids, self.kafka, {tp.topic for tp in assigned})
            self.partitions = {
                tp: TopicPartition(tp.topic, ids[tp.topic], tp.partition) for tp in assigned
            }
            earliest = await self.consumer.earliest_offsets(*assigned)
            resume = await self.pipeline.assign(
                {partition: earliest[tp] for tp, partition in self.partitions.items()}
            )
        log.info("assigned", positions={p.partition: at for p, at in resume.items()})
        return {tp: resume[partition] for tp, partition in self.partitions.items()}

    async def consume(self, stream: StreamT[Any]) -> None:
        """Hand every chunk to the pipeline, which acknowledges what is stored.

        A chunk that fails is not skipped: the worker ends, and reads it again when it is back.
        """
        events: AsyncIterator[EventT[Any]] = stream.noack().events()
        async for event in events:
            partition = self.partitions.get(event.message.tp)
            try:
                await self.pipeline.accept(partition, event.value, event.ack)
            except Exception as error:
                await self.crash(error)
                raise

    async def _earliest(self, partition: TopicPartition) -> int:
        tp = TP(partition.topic, partition.partition)
        return int((await self.consumer.earliest_offsets(tp))[tp])

    async def _check_schema(self) -> None:
        attempt = 0
        while True:
            try:
                return await asyncio.to_thread(self.sink.check_schema)
            except DatabaseUnavailableError as error:
                attempt += 1
                await back_off(str(error), attempt)

    def _create_directories(self) -> None:
        """Create nothing: there are no tables to keep on disk."""


def _collect_seldom() -> None:
    """Let the garbage collector look less often.

    Events form no cycles, yet a collection walks all that wait for the store: decoding took twice
    as long with the defaults.
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


def create_app(
    kafka: KafkaSettings, database: DatabaseSettings, settings: WorkerSettings
) -> IntentloopApp:
    """Build the app; connects to nothing. Raises ValueError when a needed variable is not set."""
    app = IntentloopApp(
        settings.group,
        broker=broker_urls(kafka),
        broker_credentials=credentials(kafka),
        autodiscover=False,
        store="memory://",
        web_enabled=False,
        datadir=Path(tempfile.gettempdir()) / "intentloop",
        consumer_group_instance_id=settings.instance_id,
        consumer_auto_offset_reset="earliest",
        # A worker that dies is noticed within this time, and everything it had moves on.
        broker_session_timeout=8.0,
        broker_heartbeat_interval=2.0,
        # Waiting for the store is no reason to leave the group.
        broker_max_poll_interval=86_400.0,
        broker_max_poll_records=_MAX_RECORDS_PER_CHUNK,
        stream_buffer_maxsize=_CHUNKS_IN_MEMORY,
        stream_wait_empty=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        producer_compression_type="zstd",
        producer_max_request_size=_MAX_REQUEST_BYTES,
        worker_redirect_stdouts=False,
    )
    app.kafka, app.settings = kafka, settings
    app.sink = PostgresSink(
        database.required_url(),
        window_seconds=settings.window_seconds,
        writer=settings.instance_id or uuid.uuid4().hex[:12],
    )
    app.agent(app.topic(settings.topic, value_serializer="raw"), name="conversations")(app.consume)
    return app


def run_worker(
    kafka: KafkaSettings, database: DatabaseSettings, settings: WorkerSettings, log_level: str
) -> None:
    """Run a worker until SIGTERM or Ctrl-C, then leave the process.

    What is open is written and acknowledged first. Raises ValueError when a needed variable is not
    set.
    """
    app = create_app(kafka, database, settings)
    worker = faust.Worker(app, loglevel=log_level, override_logging=False, quiet=True)
    # It writes cursor movements even where nobody watches.
    worker.spinner = None
    worker.execute_from_commandline()
