"""What is wrong, in plain words, and what to do about it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition
from rich.table import Table
from sqlalchemy import text

from intentloop_schemas import LOGGERS_TOPIC, dead_letter_topic
from intentloop_schemas import TopicPartition as Line
from intentloop_schemas.kafka import KafkaSettings
from intentloop_sink import (
    DatabaseSettings,
    DatabaseUnavailableError,
    PostgresSink,
    SchemaError,
    Unavailable,
    check_schema,
)
from intentloop_sink.connection import session
from intentloop_stream.settings import WorkerSettings
from intentloop_stream.topics import connect, quiet_admin, topic_ids

TIMEOUT_SECONDS = 5.0
MAX_CLOCK_SKEW_SECONDS = 5.0
MAX_LAG = 10_000


class Finding(NamedTuple):
    """One thing that was looked at."""

    what: str
    well: bool
    says: str


def examine(
    kafka: KafkaSettings, database: DatabaseSettings, worker: WorkerSettings
) -> list[Finding]:
    """Look at everything that can be reached. Blocks up to 5 s for each part that is away."""
    findings = [_broker(kafka)]
    if findings[-1].well:
        findings.append(_topics(kafka, worker.topic))
    findings += _database(database)
    url = database.database_url
    if url is not None and all(finding.well for finding in findings):
        findings.append(_lag(kafka, url.get_secret_value(), worker.topic))
    return findings


def table(findings: list[Finding]) -> Table:
    """Return the findings as a table."""
    result = Table("", "what", "finding", title="intentloop doctor")
    for finding in findings:
        mark = "[green]well[/]" if finding.well else "[red]wrong[/]"
        result.add_row(mark, finding.what, finding.says)
    return result


def _broker(kafka: KafkaSettings) -> Finding:
    if kafka.bootstrap_servers is None:
        return Finding("broker", well=False, says="KAFKA_BOOTSTRAP_SERVERS is not set")
    try:
        _, cluster = connect(kafka, TIMEOUT_SECONDS)
    except KafkaException as error:
        says = f"{kafka.bootstrap_servers} cannot be used. {error.args[0].str()}"
        return Finding("broker", well=False, says=says)
    says = f"{len(cluster.brokers)} at {kafka.bootstrap_servers}"
    return Finding("broker", well=True, says=says)


def _topics(kafka: KafkaSettings, topic: str) -> Finding:
    known = quiet_admin(kafka).list_topics(timeout=TIMEOUT_SECONDS).topics
    wanted = (topic, dead_letter_topic(topic), LOGGERS_TOPIC)
    missing = [name for name in wanted if name not in known]
    if missing:
        says = f"{' and '.join(missing)} missing: run `intentloop topics create`"
        return Finding("topics", well=False, says=says)
    says = f"{topic} has {len(known[topic].partitions)} partitions"
    return Finding("topics", well=True, says=says)


def _database(database: DatabaseSettings) -> Iterator[Finding]:
    if database.database_url is None:
        says = "DATABASE_URL is not set: everything is kept in JSON files under FALLBACK_DIR"
        yield Finding("database", well=True, says=says)
        return
    url = database.required_url()
    try:
        before = time.time()
        with session(url, "doctor") as connection:
            now = connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar()
        skew = float(now or 0) - (before + time.time()) / 2
        yield Finding("database", well=True, says="answers")
        yield _clock(skew)
        check_schema(url)
    except DatabaseUnavailableError as error:
        yield Finding("database", well=False, says=f"{error}: check DATABASE_URL and the server")
    except SchemaError as error:
        yield Finding("schema", well=False, says=str(error))
    else:
        yield Finding("schema", well=True, says="is the one of this release")


def _clock(skew: float) -> Finding:
    if abs(skew) <= MAX_CLOCK_SKEW_SECONDS:
        return Finding("clock", well=True, says=f"{skew:+.1f} s from the database's")
    says = f"the database's clock is {skew:+.0f} s from this machine's: set both by NTP"
    return Finding("clock", well=False, says=says)


def _lag(kafka: KafkaSettings, url: str, topic: str) -> Finding:
    waiting = lag(kafka, url, topic)
    total = sum(waiting.values())
    says = f"{total} records wait to be stored, by partition {waiting}"
    if total > MAX_LAG:
        says += ": is a worker running? More workers share the partitions"
    return Finding("lag", well=total <= MAX_LAG, says=says)


def lag(kafka: KafkaSettings, url: str, topic: str) -> dict[int, int]:
    """Return by partition how many positions of the log are not stored yet."""
    topic_id = topic_ids(kafka, [topic])[topic]
    sink = PostgresSink(url, window_seconds=30, writer="doctor")
    consumer = Consumer({**kafka.librdkafka(), "group.id": "intentloop-doctor", "log_level": 0})
    try:
        partitions = sorted(consumer.list_topics(topic, TIMEOUT_SECONDS).topics[topic].partitions)
        lines = sink.lines([Line(topic, topic_id, partition) for partition in partitions])
        if isinstance(lines, Unavailable):
            raise DatabaseUnavailableError(lines.error)
        stored = {line.partition: at.next_position for line, at in lines.items()}
        waiting = {}
        for partition in partitions:
            first, end = consumer.get_watermark_offsets(
                TopicPartition(topic, partition), TIMEOUT_SECONDS
            )
            waiting[partition] = max(0, end - stored.get(partition, first))
        return waiting
    finally:
        consumer.close()
        sink.close()
