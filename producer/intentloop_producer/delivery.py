"""What the logger settles when it is made, and what its thread does with that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pydantic import ValidationError

from intentloop_producer.courier import Courier
from intentloop_producer.intake import Intake
from intentloop_producer.journal import MEGABYTE, Journal
from intentloop_producer.journal_folder import has_orphans
from intentloop_producer.kafka import kafka_route
from intentloop_producer.outbox import Outbox
from intentloop_producer.report import Report
from intentloop_producer.settings import LoggerSettings, explain_settings
from intentloop_producer.transport import Route
from intentloop_schemas import ReviewRule
from intentloop_schemas.kafka import KafkaSettings


class NotConfiguredError(Exception):
    """Says which settings are missing or wrong, and what to do."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How conversations are delivered."""

    settings: LoggerSettings
    route: Route
    journal_root: Path
    """Where processes with the same topic keep their journals."""

    @property
    def is_overdue(self) -> bool:
        """Whether a process has ended before it had delivered everything."""
        return self.settings.journal_max_mb > 0 and has_orphans(self.journal_root)

    def run(self, intake: Intake) -> None:
        """Deliver what comes into `intake` until it is closed. Blocks; never raises."""
        settings, journal = self.settings, self._journal()
        report = Report(self.route.destination, settings.batch_size, settings.batch_seconds)
        rule = ReviewRule(settings.confidence_threshold)
        try:
            transport = self.route.connect(report.trouble)
            outbox = Outbox(transport, journal, rule, report, intake.tally)
            Courier(intake, outbox, report).run()
            why = "Given up when the logger was closed."
        except Exception as error:  # noqa: BLE001 - the bot runs on, whatever happened here
            why = f"Logging has stopped: {error}"
        kept = journal.close() if journal else 0
        if unsettled := intake.abandon(kept):
            report.failed(why, unsettled)
        if kept:
            report.kept(kept, str(self.journal_root))
        report.finish()

    def _journal(self) -> Journal | None:
        size = self.settings.journal_max_mb * MEGABYTE
        return Journal(self.journal_root, size) if size else None


def prepare(
    settings: LoggerSettings | None, kafka: KafkaSettings | None, route: Route | None
) -> Delivery | None:
    """Return the delivery that the settings ask for; None when logging is disabled.

    Settings that are not given are read from the environment. Raises NotConfiguredError.
    """
    settings = settings or _read_logger_settings()
    if not settings.enabled:
        return None
    route = route or _route(settings, kafka or _read_kafka_settings())
    # A bot may change its working directory later. What waits for one topic goes to no other.
    root = settings.journal_dir.absolute() / quote(settings.topic, safe="")
    return Delivery(settings, route, root)


def _route(settings: LoggerSettings, kafka: KafkaSettings) -> Route:
    if kafka.bootstrap_servers is None:
        raise NotConfiguredError(
            "KAFKA_BOOTSTRAP_SERVERS is not set; set it to host:port of a broker, "
            "or CONVERSATION_LOGGING_ENABLED=false"
        )
    return kafka_route(kafka, settings.topic)


def _read_logger_settings() -> LoggerSettings:
    try:
        return LoggerSettings()
    except ValidationError as error:
        raise NotConfiguredError(explain_settings(error)) from error


def _read_kafka_settings() -> KafkaSettings:
    try:
        return KafkaSettings()
    except ValidationError as error:
        raise NotConfiguredError(explain_settings(error, env_prefix="KAFKA_")) from error
