"""What the logger settles when it is made, and what its thread does with that."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from intentloop_producer.conversion import warm_up
from intentloop_producer.courier import Courier
from intentloop_producer.intake import Intake
from intentloop_producer.journal import MEGABYTE, Journal
from intentloop_producer.journal_folder import has_orphans
from intentloop_producer.outbox import Outbox
from intentloop_producer.report import Report
from intentloop_producer.settings import BackendSettings, LoggerSettings, explain_settings
from intentloop_producer.transport import HTTP, KAFKA, Route, Transport
from intentloop_producer.vitals import Vitals
from intentloop_schemas import PiiMode, PiiRule, ReviewRule
from intentloop_schemas.kafka import KafkaSettings
from intentloop_schemas.pii_settings import PiiSettings

Part = TypeVar("Part", bound=BaseSettings)

_HTTP_JOURNAL = "+http"
"""No topic has a plus sign in its quoted name."""


class NotConfiguredError(Exception):
    """Says which settings are missing or wrong, and what to do."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How conversations are delivered."""

    settings: LoggerSettings
    route: Route
    pii: PiiRule
    journal_root: Path
    """Where processes with the same destination keep their journals."""

    @property
    def is_overdue(self) -> bool:
        """Whether a process has ended before it had delivered everything."""
        return self.settings.journal_max_mb > 0 and has_orphans(self.journal_root)

    def run(self, intake: Intake) -> None:
        """Deliver what comes into `intake` until it is closed. Blocks; never raises."""
        journal, report = self._journal(), self._report()
        transport, stopped = None, ""
        try:
            transport = self.route.connect(report.trouble)
            self._courier(intake, transport, journal, report).run()
        except Exception as error:  # noqa: BLE001 - the bot runs on, whatever happened here
            stopped = f"Logging has stopped: {error}"
        kept = journal.close() if journal else 0
        if unsettled := intake.abandon(kept):
            report.failed(stopped or "Given up when the logger was closed.", unsettled)
        elif stopped:
            report.trouble(stopped)
        if kept:
            report.kept(kept, str(self.journal_root))
        report.finish()
        if transport is not None:
            # The last thing, because it waits for a name server that keeps silent.
            with suppress(Exception):
                transport.close()

    def _courier(
        self, intake: Intake, transport: Transport, journal: Journal | None, report: Report
    ) -> Courier:
        settings = self.settings
        rule = ReviewRule(settings.confidence_threshold)
        outbox = Outbox(transport, journal, rule, report, intake.tally, pii=self.pii)
        vitals = Vitals(intake, transport, self.route.transport, report, settings.report_seconds)
        id_key = b"" if self.pii.mode is PiiMode.PLAIN else self.pii.key
        return Courier(intake, outbox, report, vitals, id_key)

    def _journal(self) -> Journal | None:
        size = self.settings.journal_max_mb * MEGABYTE
        return Journal(self.journal_root, size) if size else None

    def _report(self) -> Report:
        settings = self.settings
        return Report(
            self.route.destination,
            settings.batch_size,
            settings.batch_seconds,
            shows_text=settings.log_text and self.pii.mode is PiiMode.PLAIN,
        )


def prepare(
    settings: LoggerSettings | None,
    kafka: KafkaSettings | None,
    backend: BackendSettings | None,
    pii: PiiSettings | None,
    route: Route | None,
) -> Delivery | None:
    """Return the delivery that the settings ask for; None when logging is disabled.

    Settings that are not given are read from the environment. Raises NotConfiguredError.
    """
    settings = settings or _read(LoggerSettings)
    if not settings.enabled:
        return None
    rule = _pii_rule(pii or _read(PiiSettings))
    route = route or _route(settings, kafka, backend)
    warm_up()
    # A bot may change its working directory later. What waits for one topic goes to no other.
    folder = _HTTP_JOURNAL if route.transport == HTTP else quote(settings.topic, safe="")
    return Delivery(settings, route, rule, settings.journal_dir.absolute() / folder)


def _route(
    settings: LoggerSettings, kafka: KafkaSettings | None, backend: BackendSettings | None
) -> Route:
    transport = settings.transport or _given(kafka, backend)
    if transport is None:
        kafka = _read(KafkaSettings)
        backend = None if kafka.bootstrap_servers else _read(BackendSettings)
        transport = HTTP if backend and backend.url else KAFKA
    if transport == HTTP:
        return _http_route(settings, backend or _read(BackendSettings))
    return _kafka_route(settings, kafka or _read(KafkaSettings))


def _given(kafka: KafkaSettings | None, backend: BackendSettings | None) -> str | None:
    """Return the transport of the settings that the bot has made itself."""
    if kafka is not None:
        return KAFKA
    return HTTP if backend is not None else None


def _http_route(settings: LoggerSettings, backend: BackendSettings) -> Route:
    from intentloop_producer.http import http_route

    if backend.url is None:
        raise NotConfiguredError("ADMIN_BACKEND_URL is not set; set it to https://host")
    return http_route(backend, settings.batch_size, settings.batch_seconds)


def _kafka_route(settings: LoggerSettings, kafka: KafkaSettings) -> Route:
    from intentloop_producer.kafka import kafka_route

    if kafka.bootstrap_servers is None:
        raise NotConfiguredError(
            "KAFKA_BOOTSTRAP_SERVERS is not set; set it to host:port of a broker, or "
            "ADMIN_BACKEND_URL to https://host of the admin backend, or "
            "CONVERSATION_LOGGING_ENABLED=false"
        )
    return kafka_route(kafka, settings.topic)


def _pii_rule(pii: PiiSettings) -> PiiRule:
    try:
        return pii.rule()
    except ValueError as error:
        raise NotConfiguredError(str(error)) from error


def _read(part: type[Part]) -> Part:
    try:
        return part()
    except ValidationError as error:
        prefix = part.model_config.get("env_prefix", "")
        raise NotConfiguredError(explain_settings(error, prefix)) from error
