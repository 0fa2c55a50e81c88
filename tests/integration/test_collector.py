"""Reports that loggers send over Kafka are in the API's summary."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from confluent_kafka import Producer

from intentloop_schemas import LOGGERS_TOPIC
from intentloop_schemas.kafka import KafkaSettings
from intentloop_stream.topics import create_topics
from support.api import configuration, running_api
from support.destinations import KafkaDestination

SUMMARY = "/api/stats/summary"


def test_what_a_logger_reports_over_kafka_is_in_the_summary(
    kafka: Any, topic: str, database_url: str, tmp_path: Any, eventually: Any
) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers)
    create_topics(settings, topic)
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    producer.produce(LOGGERS_TOPIC, b"no report")
    assert producer.flush(10) == 0
    with KafkaDestination(kafka, topic).logger() as logger:
        for number in range(37):
            logger.log(
                phone_number="+15550100", message_text=str(number), intent="greet", confidence=0.9
            )
        assert logger.flush(30) == 0

    with running_api(replace(configuration(database_url, tmp_path), kafka=settings)) as api:

        def success_rate() -> float | None:
            figures = api.get(SUMMARY).json()["figures"]
            return next(figure for figure in figures if figure["name"] == "successRate")["value"]

        assert eventually(success_rate, 30, "the report is in the summary") == 1.0
