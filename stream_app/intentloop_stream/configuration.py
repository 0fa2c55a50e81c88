"""All that a worker process is told, read once when it starts."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from functools import cached_property

from intentloop_schemas.failpoint import Failpoint, FailpointSettings, from_setting
from intentloop_schemas.kafka import KafkaSettings
from intentloop_schemas.pii_settings import PiiSettings
from intentloop_sink import DatabaseSettings
from intentloop_sink.spool import SpoolSettings
from intentloop_stream.settings import WorkerSettings


@dataclass(frozen=True)
class Configuration:
    """The settings of the parts that make a worker.

    Reading them raises pydantic.ValidationError when a variable has a wrong value.
    """

    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    spool: SpoolSettings = field(default_factory=SpoolSettings)
    pii: PiiSettings = field(default_factory=PiiSettings)
    failpoints: FailpointSettings = field(default_factory=FailpointSettings)

    @cached_property
    def writer(self) -> str:
        """Names this process to the database, and its folder in the fallback."""
        return self.worker.instance_id or uuid.uuid4().hex[:12]

    @property
    def group(self) -> str:
        """The consumer group: workers that store in files share no partition with the others."""
        group = self.worker.group
        return group if self.database.database_url else f"{group}-files"

    @cached_property
    def failpoint(self) -> Failpoint:
        """What a test lets happen at a named moment; nothing otherwise."""
        return from_setting(self.failpoints.failpoint)
