"""Brings what loggers report over Kafka to where reports over HTTP go."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import structlog
from confluent_kafka import Consumer, Message
from pydantic import ValidationError

from intentloop_admin.problems import ProblemError
from intentloop_admin.stores import Stores
from intentloop_schemas import LOGGERS_TOPIC, LoggerReport
from intentloop_schemas.kafka import KafkaSettings
from intentloop_sink.catalogue import AddReport

GROUP = "intentloop-reports"
_AT_A_TIME = 100
_WAIT_SECONDS = 1.0
_PAUSE_SECONDS = 5.0

log = structlog.get_logger(__name__)


async def collect_reports(kafka: KafkaSettings, stores: Stores) -> None:
    """Keep every report that comes over Kafka, until cancelled; API processes share the work.

    A report is known by its logger and time, so reading one again changes nothing. While the store
    is away Kafka keeps them.
    """
    consumer = Consumer(
        {
            **kafka.librdkafka(),
            "group.id": GROUP,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    consumer.subscribe([LOGGERS_TOPIC])
    try:
        while True:
            messages = await asyncio.to_thread(consumer.consume, _AT_A_TIME, _WAIT_SECONDS)
            records = [message for message in messages if not message.error()]
            if records:
                await _keep(_reports(records), stores)
                await asyncio.to_thread(consumer.commit, message=records[-1], asynchronous=False)
    finally:
        await asyncio.to_thread(consumer.close)


def _reports(messages: Sequence[Message]) -> Iterable[LoggerReport]:
    for message in messages:
        try:
            yield LoggerReport.model_validate_json(message.value() or b"")
        except ValidationError as error:
            log.warning("report_invalid", offset=message.offset(), errors=error.error_count())


async def _keep(reports: Iterable[LoggerReport], stores: Stores) -> None:
    for report in reports:
        is_kept = False
        while not is_kept:
            try:
                await stores.apply(AddReport(report=report))
                is_kept = True
            except ProblemError as error:
                log.warning("report_waits", error=error.detail)
                await asyncio.sleep(_PAUSE_SECONDS)
