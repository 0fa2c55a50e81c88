"""What the logger settles when it is made, and what its thread does with that."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from intentloop_producer.courier import Courier
from intentloop_producer.intake import Intake
from intentloop_producer.kafka import kafka_route
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

    def run(self, intake: Intake) -> None:
        """Deliver what comes into `intake` until it is closed. Blocks; never raises."""
        settings = self.settings
        report = Report(self.route.destination, settings.batch_size, settings.batch_seconds)
        rule = ReviewRule(settings.confidence_threshold)
        try:
            Courier(intake, self.route.connect(report.trouble), rule, report).run()
            why = "Given up when the logger was closed."
        except Exception as error:  # noqa: BLE001 - the bot runs on, whatever happened here
            why = f"Logging has stopped: {error}"
        if unsettled := intake.abandon():
            report.failed(why, unsettled)
        report.finish()


def prepare(
    settings: LoggerSettings | None, kafka: KafkaSettings | None, route: Route | None
) -> Delivery | None:
    """Return the delivery that the settings ask for; None when logging is disabled.

    Settings that are not given are read from the environment. Raises NotConfiguredError.
    """
    settings = settings or _read_logger_settings()
    if not settings.enabled:
        return None
    return Delivery(settings, route or _route(settings, kafka or _read_kafka_settings()))


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
