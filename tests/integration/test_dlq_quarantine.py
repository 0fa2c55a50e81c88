"""A record larger than the dead-letter topic takes, from the worker to the operator and back."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from typer.testing import CliRunner, Result

from intentloop_cli.app import app
from support import tables
from support.processes import StartWorker
from support.topic_reader import read_topic
from support.traffic import Message, produce

THREE_MEGABYTES = 3_000_000


@pytest.fixture
def roomy_topic(kafka: Any) -> str:
    """A topic for large records whose dead-letter topic takes only small ones."""
    name = f"roomy-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    topics = [
        NewTopic(name, 1, 1, config={"max.message.bytes": "5000000"}),
        NewTopic(f"{name}.dlq", 1, 1, config={"max.message.bytes": "20000"}),
    ]
    for future in admin.create_topics(topics).values():
        future.result(30)
    return name


def test_it_is_quarantined_whole_and_the_worker_goes_on(
    kafka: Any,
    roomy_topic: str,
    database_url: str,
    start_worker: StartWorker,
    eventually: Any,
    tmp_path: Path,
) -> None:
    now = int(time.time() * 1000)
    # Random bytes: what compresses well fits into any topic.
    large = os.urandom(THREE_MEGABYTES)
    fallback = tmp_path / "fallback"
    environment = {"INTENTLOOP_TOPIC": roomy_topic, "FALLBACK_DIR": str(fallback)}
    worker = start_worker(BATCH_SIZE="1", **environment)
    messages = [Message(b"+15550100", value, now, b"") for value in (b"{", large, b"[")]
    produce(kafka.bootstrap_servers, roomy_topic, iter(messages))
    eventually(lambda: tables.accounted(database_url) == 3, 60, "all three are accounted for")
    assert worker.stop() == 0
    assert worker.says("dead_letter_truncated")

    [cut] = [
        message
        for message in read_topic(kafka.bootstrap_servers, f"{roomy_topic}.dlq")
        if dict(message.headers())["dlq.offset"] == b"1"
    ]
    headers = dict(cut.headers())
    assert headers["dlq.truncated"] == str(THREE_MEGABYTES).encode()
    assert large.startswith(cut.value())
    file = fallback / "quarantine" / headers["dlq.quarantine"].decode()
    assert file.read_bytes() == large

    def dlq(*arguments: str, folder: Path = fallback) -> Result:
        kafka_at = {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers}
        where = {"INTENTLOOP_TOPIC": roomy_topic, "FALLBACK_DIR": str(folder)}
        return CliRunner(env={**kafka_at, **where}).invoke(app, ["dlq", *arguments])

    elsewhere = tmp_path / "elsewhere"
    away = dlq("show", "0", "1", folder=elsewhere)
    assert "on this machine" in away.stderr
    assert f"the first {len(cut.value())} of {THREE_MEGABYTES} bytes" in away.stdout
    assert f"Value, {THREE_MEGABYTES} bytes" in dlq("show", "0", "1").stdout

    exported = dlq("export", str(tmp_path / "cut.jsonl"), folder=elsewhere)
    assert exported.exit_code == 1
    assert "1 of them are truncated" in exported.stderr
    assert dlq("export", str(tmp_path / "whole.jsonl")).exit_code == 0
    assert (tmp_path / "whole.jsonl").stat().st_size > THREE_MEGABYTES

    left = dlq("retry", folder=elsewhere)
    assert left.exit_code == 1
    assert "2 sent again" in left.stdout, left.stderr
    assert "on this machine" in left.stderr
    assert "1 sent again" in dlq("retry").stdout
    again = read_topic(kafka.bootstrap_servers, roomy_topic)[-1]
    assert (again.key(), again.value(), again.timestamp()[1]) == (b"+15550100", large, now)


def test_while_the_quarantine_cannot_be_written_the_record_waits(
    kafka: Any,
    roomy_topic: str,
    database_url: str,
    start_worker: StartWorker,
    eventually: Any,
    tmp_path: Path,
) -> None:
    fallback = tmp_path / "fallback"
    fallback.mkdir()
    (fallback / "quarantine").write_text("in the way")
    message = Message(b"k", os.urandom(100_000), int(time.time() * 1000), b"")
    worker = start_worker(BATCH_SIZE="1", INTENTLOOP_TOPIC=roomy_topic, FALLBACK_DIR=str(fallback))
    produce(kafka.bootstrap_servers, roomy_topic, iter([message]))

    eventually(lambda: worker.says("dead_letters_waiting"), 60)
    assert tables.accounted(database_url) == 0
    assert read_topic(kafka.bootstrap_servers, f"{roomy_topic}.dlq") == []
    (fallback / "quarantine").unlink()

    eventually(lambda: tables.accounted(database_url) == 1, 30, "it is quarantined after all")
    assert len(list((fallback / "quarantine").iterdir())) == 1
