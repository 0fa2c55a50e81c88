"""The Faust worker: settings in, a running pipeline out."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import faust
import structlog
from confluent_kafka import KafkaException
from faust.types import TP, EventT, StreamT

from intentloop_schemas import TopicPartition
from intentloop_sink import DatabaseUnavailableError, PostgresSink, SchemaError
from intentloop_sink.spool import Spool, SpoolError
from intentloop_stream import dead_letters
from intentloop_stream.backpressure import Backpressure
from intentloop_stream.broker import broker_urls, credentials
from intentloop_stream.configuration import Configuration
from intentloop_stream.ending import FAILURE, EndWorkerError
from intentloop_stream.group_commit import adopt_orphans, back_off
from intentloop_stream.interpreter import favour_throughput
from intentloop_stream.metrics import Metrics
from intentloop_stream.pipeline import Pipeline
from intentloop_stream.quarantine import QUARANTINE, Quarantine
from intentloop_stream.stall import Standing
from intentloop_stream.store_thread import Sink
from intentloop_stream.surroundings import Surroundings
from intentloop_stream.telemetry import Telemetry
from intentloop_stream.topics import connect, log_ends, quiet_admin, topic_ids
from intentloop_stream.transport import TableManager
from intentloop_stream.watchdog import Watchdog

_SHUTDOWN_SECONDS = 8.0
_REQUEST_SECONDS = 6.1
_PRODUCE_SECONDS = 5.0
_MAX_RECORDS_PER_CHUNK = 5_000
_CHUNKS_IN_MEMORY = 4
_MAX_REQUEST_BYTES = 16 * 1024 * 1024

log = structlog.get_logger(__name__)


class IntentloopApp(faust.App):
    """A Faust app around a pipeline: it reads on where the store stands, and stops when stored."""

    configuration: Configuration
    database: PostgresSink | None = None
    """The store; without one files are."""
    pipeline: Pipeline | None = None
    failure: Exception | None = None
    """Why the worker ends, when it is not because somebody told it to."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.partitions: dict[TP, TopicPartition] = {}
        self.positioning = asyncio.Lock()
        self.backpressure = Backpressure()
        self.metrics = Metrics()
        self.telemetry = Telemetry(self.metrics, self.not_ready)
        self.watchdog: Watchdog | None = None

    async def on_start(self) -> None:
        """Check schema and fallback folder, then start the pipeline."""
        await super().on_start()
        favour_throughput()
        try:
            await self._start_telemetry()
            await self._check_broker()
            if self.database is not None:
                await self._check_schema(self.database)
            self._start_pipeline()
        except (SchemaError, SpoolError, EndWorkerError) as error:
            await self._end(error)

    async def on_stop(self) -> None:
        """Stop reading, then write and acknowledge what is open."""
        if self.watchdog is not None:
            self.watchdog.stop()
        await self.telemetry.stop()
        await super().on_stop()
        if self.pipeline is None or self.failure is not None:
            return
        try:
            await asyncio.wait_for(self.pipeline.close(), _SHUTDOWN_SECONDS)
        except TimeoutError:
            log.warning("left_open", reason="neither database nor disk took it; Kafka keeps it")

    async def positions(self, assigned: set[TP]) -> dict[TP, int]:
        """Begin a new assignment; return the position to read each partition from.

        Waits as long as the store is away. Calls take turns: the last one has the last word.
        """
        pipeline = self._running_pipeline()
        kafka, topics = self.configuration.kafka, {tp.topic for tp in assigned}
        async with self.positioning:
            ids = await asyncio.to_thread(topic_ids, kafka, topics)
            self.partitions = {
                tp: TopicPartition(tp.topic, ids[tp.topic], tp.partition) for tp in assigned
            }
            earliest = await self.consumer.earliest_offsets(*assigned)
            resume = await pipeline.assign(
                {partition: earliest[tp] for tp, partition in self.partitions.items()}
            )
        log.info("assigned", positions={p.partition: at for p, at in resume.items()})
        return {tp: resume[partition] for tp, partition in self.partitions.items()}

    async def consume(self, stream: StreamT[Any]) -> None:
        """Hand every chunk to the pipeline, which acknowledges what is stored.

        A chunk that fails is not skipped: the worker ends, and reads it again when it is back.
        """
        pipeline = self._running_pipeline()
        events: AsyncIterator[EventT[Any]] = stream.noack().events()
        async for event in events:
            partition = self.partitions.get(event.message.tp)
            try:
                await pipeline.accept(partition, event.value, event.ack)
            except EndWorkerError as error:
                await self._end(error)
            except Exception as error:
                await self.crash(error)
                raise

    def standings(self) -> Mapping[TopicPartition, Standing]:
        """Return where every assigned partition stands. Any thread may ask."""
        if self.pipeline is None:
            return {}
        places = {partition: tp for tp, partition in dict(self.partitions).items()}
        standings = {}
        for partition, (taken, due, safe) in self.pipeline.progress().items():
            if partition in places:
                fetched, delivered = self.consumer.progress(places[partition])
                standings[partition] = Standing(fetched, delivered, taken, due, safe)
        return standings

    def lag(self) -> Mapping[int, int]:
        """Return by number of an assigned partition how many positions are not safe yet."""
        progress = self.pipeline.progress() if self.pipeline else {}
        places = {partition: tp for tp, partition in self.partitions.items()}
        return {
            partition.partition: max(0, (self.consumer.highwater(places[partition]) or 0) - safe)
            for partition, (_, _, safe) in progress.items()
            if partition in places
        }

    def not_ready(self) -> str | None:
        """Say why the worker takes nothing now, None when it does."""
        if self.pipeline is None:
            return "it starts: the database has not answered yet"
        return self.backpressure.reason

    async def _start_telemetry(self) -> None:
        worker = self.configuration.worker
        if worker.metrics_port is None:
            return
        try:
            await self.telemetry.start(worker.metrics_host, worker.metrics_port)
        except OSError as error:
            raise EndWorkerError(f"INTENTLOOP_METRICS_PORT cannot be used: {error}") from error

    def _start_pipeline(self) -> None:
        configured, worker = self.configuration.spool, self.configuration.worker
        spool = Spool(
            configured.folder,
            self.configuration.writer,
            max_bytes=configured.max_bytes,
            failpoint=self.configuration.failpoint,
        )
        self.metrics.lag(self.lag)
        sink, fallback = self._store(spool)
        self.metrics.gauge(
            "spooled_events",
            "Events waiting in files.",
            lambda: fallback.events if fallback else 0,
        )
        quarantine = Quarantine(configured.folder / QUARANTINE)
        publish = partial(dead_letters.publish, self, quarantine, self.backpressure)
        self.pipeline = Pipeline(
            sink,
            fallback,
            worker,
            publish=publish,
            reposition=self.consumer.perform_seek,
            earliest=self._earliest,
            surroundings=Surroundings(
                _now_ms,
                self.backpressure,
                self.metrics,
                self.configuration.pii.rule(),
                self.configuration.failpoint,
            ),
        )
        self.add_future(self._run(self.pipeline.run()))
        if self.database is not None:
            self.add_future(adopt_orphans(configured.folder, self.database, publish))
        if worker.stall_seconds:
            ends = partial(log_ends, quiet_admin(self.configuration.kafka))
            self.watchdog = Watchdog(worker.stall_seconds, self.standings, ends, self.backpressure)
            self.watchdog.start()

    def _store(self, spool: Spool) -> tuple[Sink, Spool | None]:
        """Return where conversations go, and where while that is away."""
        if self.database is not None:
            return self.database, spool
        # They bring SQLAlchemy, which nothing else of a worker needs.
        from intentloop_sink.catalogue import FileFollower
        from intentloop_sink.file_sink import FileSink

        folder, window_seconds = spool.folder.parent, self.configuration.worker.window_seconds
        log.warning("json_mode", reason="DATABASE_URL is not set", folder=str(folder))
        files = FileFollower(folder, window_seconds=window_seconds)
        return FileSink(spool, files, window_seconds=window_seconds), None

    async def _run(self, work: Awaitable[None]) -> None:
        try:
            await work
        except* EndWorkerError as errors:
            await self._end(errors.exceptions[0])

    async def _end(self, error: Exception) -> None:
        """End the worker as if it had been told to, but with a status that is not zero."""
        if self.failure is None:
            self.failure = error
            log.critical("worker_ends", reason=str(error))
            signal.raise_signal(signal.SIGTERM)
        await self.wait_until_stopped()

    def _running_pipeline(self) -> Pipeline:
        if self.pipeline is None:
            raise RuntimeError("the app has not started")
        return self.pipeline

    async def _earliest(self, partition: TopicPartition) -> int:
        tp = TP(partition.topic, partition.partition)
        return int((await self.consumer.earliest_offsets(tp))[tp])

    async def _check_broker(self) -> None:
        """End in plain words when Kafka cannot be used: Faust would say it in many."""
        try:
            await asyncio.to_thread(connect, self.configuration.kafka)
        except KafkaException as error:
            raise EndWorkerError(error.args[0].str()) from error

    async def _check_schema(self, database: PostgresSink) -> None:
        attempt = 0
        while True:
            try:
                return await asyncio.to_thread(database.check_schema)
            except DatabaseUnavailableError as error:
                attempt += 1
                log.warning("store_failed", error=str(error), attempt=attempt)
                await back_off(attempt)

    def _create_directories(self) -> None:
        """Create nothing: there are no tables to keep on disk."""


class Worker(faust.Worker):
    """Ends with status 1 when the app has ended itself."""

    def stop_and_shutdown(self) -> None:
        """Stop everything, then leave."""
        super().stop_and_shutdown()
        if self.app.failure is not None:
            raise SystemExit(FAILURE)

    async def _sentinel_task(self) -> None:
        """Close the event loop at once; Faust waits for a second when everything has ended."""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def create_app(configuration: Configuration) -> IntentloopApp:
    """Build the app; connects to nothing. Raises ValueError when a needed variable is not set."""
    worker = configuration.worker
    app = IntentloopApp(
        configuration.group,
        Worker=Worker,
        TableManager=TableManager,
        broker=broker_urls(configuration.kafka),
        broker_credentials=credentials(configuration.kafka),
        autodiscover=False,
        store="memory://",
        web_enabled=False,
        datadir=Path(tempfile.gettempdir()) / "intentloop",
        consumer_group_instance_id=worker.instance_id,
        consumer_auto_offset_reset="earliest",
        # Faust would notice added partitions and recreated topics after five minutes.
        consumer_metadata_max_age_ms=3_000,
        # A worker that dies is noticed within this time, and everything it had moves on.
        broker_session_timeout=6.0,
        broker_heartbeat_interval=2.0,
        # A connection that swallows what is sent is given up after this; Faust waits for minutes,
        # and asks for more than the session's.
        broker_request_timeout=_REQUEST_SECONDS,
        producer_request_timeout=_PRODUCE_SECONDS,
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
    app.configuration = configuration
    url = configuration.database.database_url
    if url is not None:
        app.database = PostgresSink(
            url.get_secret_value(),
            window_seconds=worker.window_seconds,
            writer=configuration.writer,
            failpoint=configuration.failpoint,
        )
    app.agent(app.topic(worker.topic, value_serializer="raw"), name="conversations")(app.consume)
    return app


def run_worker(configuration: Configuration, log_level: str) -> None:
    """Run a worker until SIGTERM or Ctrl-C, then leave the process.

    What is open is written and acknowledged first. Raises ValueError when a needed variable is not
    set.
    """
    app = create_app(configuration)
    worker = Worker(app, loglevel=log_level, override_logging=False, quiet=True)
    # It writes cursor movements even where nobody watches.
    worker.spinner = None
    worker.execute_from_commandline()
