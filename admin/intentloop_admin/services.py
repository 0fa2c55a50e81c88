"""Everything that routes work with, made once for an app."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property

import structlog

from intentloop_admin.collector import collect_reports
from intentloop_admin.erasure import Whereabouts
from intentloop_admin.ingest import Intake, Line, Writer
from intentloop_admin.ingest.replay import WRITER_PREFIX
from intentloop_admin.jobs import TrainingJobs
from intentloop_admin.metrics import Metrics
from intentloop_admin.pipeline import Remembered
from intentloop_admin.problems import ProblemError, not_found, try_later
from intentloop_admin.recent import Recent
from intentloop_admin.review_jobs import draw_audits, tend_queue
from intentloop_admin.security.keyring import Keyring
from intentloop_admin.security.limiter import Limiter
from intentloop_admin.security.sessions import MemoryShelf, SessionBook, TableShelf
from intentloop_admin.settings import ApiSettings
from intentloop_admin.storage import Storage, in_files, in_postgres
from intentloop_schemas import ReviewRule
from intentloop_schemas.failpoint import Failpoint, FailpointSettings, from_setting
from intentloop_schemas.kafka import KafkaSettings
from intentloop_schemas.pii_settings import PiiSettings
from intentloop_sink import DatabaseSettings, DatabaseUnavailableError
from intentloop_sink.spool import Spool, SpoolSettings
from intentloop_stream.processing import Decoder
from intentloop_stream.settings import WorkerSettings
from intentloop_training.jobs import open_jobs
from intentloop_training.jobs.settings import JobSettings

_RECENT_SECONDS = 60.0
"""How old what pages tell beside their figures may be: phrases, targets, growth, names."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Configuration:
    """The settings of the parts that make an API process.

    Reading them raises pydantic.ValidationError when a variable has a wrong value.
    """

    api: ApiSettings = field(default_factory=ApiSettings)
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    spool: SpoolSettings = field(default_factory=SpoolSettings)
    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    """The review rule, the windows and the topic are the worker's."""
    pii: PiiSettings = field(default_factory=PiiSettings)
    """Its key leads from a phone number to what is stored."""
    jobs: JobSettings = field(default_factory=JobSettings)
    failpoints: FailpointSettings = field(default_factory=FailpointSettings)

    @cached_property
    def writer(self) -> str:
        """Names this process to the database, and its folder in the fallback."""
        return WRITER_PREFIX + (self.worker.instance_id or uuid.uuid4().hex[:12])

    @cached_property
    def failpoint(self) -> Failpoint:
        """What a test lets happen at a named moment; nothing otherwise."""
        return from_setting(self.failpoints.failpoint)


class Services:
    """The parts of a running API. Making them opens the spool and connects to nothing.

    Raises intentloop_sink.spool.SpoolError when the spool cannot be used, and ValueError when the
    settings for privacy lack a key.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        worker = configuration.worker
        self.decoder = Decoder(
            ReviewRule(worker.confidence_threshold), worker.window_seconds, configuration.pii.rule()
        )
        self.metrics = Metrics()
        self.accounts = Remembered()
        self.recent = Recent(_RECENT_SECONDS)
        spool = configuration.spool
        self.spool = Spool(
            spool.folder,
            configuration.writer,
            max_bytes=spool.max_bytes,
            failpoint=configuration.failpoint,
        )
        self.storage = _storage(configuration, self.spool)
        self.stores = self.storage.stores
        self.keys = self.storage.keys
        admin_key = configuration.api.admin_key
        self.keyring = Keyring(self.keys, admin_key.get_secret_value() if admin_key else None)
        url = configuration.database.database_url
        self.jobs = TrainingJobs(
            open_jobs(url.get_secret_value() if url else None, configuration.jobs.jobs_dir)
        )
        self.limiter = Limiter(configuration.api.requests_per_minute)
        in_postgres = self.storage.mode == "postgres"
        shelf = TableShelf(self.stores) if in_postgres else MemoryShelf()
        self.sessions = SessionBook(self.keyring, shelf)
        line = Line(configuration.writer, now_ms)
        writer = Writer(line, self.storage.sink, self.storage.fallback)
        self.intake = Intake(writer, self.metrics)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work as long as the context lasts; at its end what is open is written."""
        await self._check_schema()
        async with asyncio.TaskGroup() as tasks:
            jobs = [self.intake.run(), self.keyring.note_usage()]
            jobs += [job(self.intake.thread) for job in self.storage.jobs]
            if self.storage.mode == "postgres":
                jobs += [tend_queue(self.stores), draw_audits(self.stores)]
            if self.configuration.kafka.bootstrap_servers is not None:
                jobs.append(collect_reports(self.configuration.kafka, self.stores))
            working = [tasks.create_task(job) for job in jobs]
            try:
                yield
                await self.intake.idle()
            finally:
                for task in working:
                    task.cancel()
        await self.keyring.flush()
        self.close()

    @property
    def waiting(self) -> int:
        """Conversations that wait in files for the database; in JSON mode none has to."""
        return self.storage.fallback.events if self.storage.fallback is not None else 0

    def missing(self, what: str, where: str) -> ProblemError:
        """Return the problem that something is not there, as far as that can be said now."""
        if self.stores.is_partial:
            return try_later(f"The database is away, and only it may know of {what}.")
        return not_found(what, where)

    def require_ready(self) -> None:
        """Raise ProblemError when neither the store nor the disk would take anything."""
        if self.spool.size >= self.configuration.spool.max_bytes:
            raise try_later("The database is away, and the files are full.")

    def close(self) -> None:
        """Let go of connections and files."""
        self.intake.thread.shutdown()
        self.storage.close()
        self.spool.close()

    async def _check_schema(self) -> None:
        """Raise SchemaError unless the schema is this release's, or cannot be looked at now."""
        try:
            await asyncio.to_thread(self.storage.check)
        except DatabaseUnavailableError as error:
            log.warning("database_away", error=str(error), advice="what comes waits in files")


def _storage(configuration: Configuration, spool: Spool) -> Storage:
    url = configuration.database.database_url
    window_seconds = configuration.worker.window_seconds
    if url is None:
        return in_files(spool, window_seconds=window_seconds)
    where = Whereabouts(
        database_url=url.get_secret_value(),
        fallback=configuration.spool.folder,
        # They lie where the bots are.
        journals=None,
        kafka=configuration.kafka,
        topic=configuration.worker.topic,
    )
    return in_postgres(
        where,
        spool,
        writer=configuration.writer,
        window_seconds=window_seconds,
        failpoint=configuration.failpoint,
    )


def now_ms() -> int:
    """Return the time in epoch ms."""
    return time.time_ns() // 1_000_000
