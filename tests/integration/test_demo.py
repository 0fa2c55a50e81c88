"""The demo on real parts: what was played is what the database says, and nothing is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from urllib.request import Request, urlopen

import psutil
import psycopg2
import pytest
from confluent_kafka import Consumer, TopicPartition
from rich.console import Console

from intentloop_demo.run import DAMAGED, run_demo
from intentloop_devstack import KafkaServer, PostgresServer
from intentloop_devstack.ports import free_port
from intentloop_sink import migrate

Query = Callable[[str], list[tuple[Any, ...]]]
SEEDS = (1, 2)


@pytest.fixture(scope="module")
def own_database(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a database for all tests of this module."""
    name = "demo_tests"
    with closing(psycopg2.connect(postgres_server.url)) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {name}")
        yield urlunsplit(urlsplit(postgres_server.url)._replace(path=f"/{name}"))
        connection.cursor().execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def given(kafka: KafkaServer, own_database: str) -> dict[str, str]:
    """An environment that names running servers, so that the demo starts none."""
    return {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "DATABASE_URL": own_database,
    }


@pytest.fixture(scope="module")
def query(own_database: str) -> Iterator[Query]:
    with closing(psycopg2.connect(own_database)) as connection:
        connection.autocommit = True

        def ask(sql: str) -> list[tuple[Any, ...]]:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall()

        yield ask


@dataclass
class Run:
    """What a demo came to, and the model version that its rows carry."""

    text: str
    folder: Path
    version: str


@pytest.fixture(scope="module")
def runs(
    given: dict[str, str], query: Query, tmp_path_factory: pytest.TempPathFactory
) -> list[Run]:
    """Two demos, one after the other, on the same Kafka and in the same database."""
    runs: list[Run] = []
    for seed in SEEDS:
        folder = tmp_path_factory.mktemp("demo")
        status, text = demo(folder, given, conversations=150, seed=seed)
        assert status == 0, text
        versions = {
            version for (version,) in query('SELECT DISTINCT "modelVersion" FROM "Example"')
        }
        [version] = versions - {run.version for run in runs}
        runs.append(Run(text, folder, version))
    return runs


def demo(folder: Path, environ: dict[str, str], **options: int) -> tuple[int, str]:
    out = StringIO()
    status = run_demo(folder, environ, Console(file=out, width=120), **options)
    return status, out.getvalue()


def reported(text: str) -> dict[str, int]:
    """Return the numbers of the line that adds them up."""
    line = re.search(r"produced [\d,]+ . stored [\d,]+ \+ duplicates [\d,]+ \+ rejected .*", text)
    assert line, text
    pairs = re.findall(r"(\w+) ([\d,]+)", line[0])
    return {name: int(number.replace(",", "")) for name, number in pairs}


def test_the_demo_starts_its_own_parts_and_leaves_none_behind(
    tmp_path: Path, kafka_jars: Path
) -> None:
    (tmp_path / "kafka-jars").symlink_to(kafka_jars)
    named = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL")
    environ = {name: value for name, value in os.environ.items() if name not in named}
    before = {child.pid for child in psutil.Process().children(recursive=True)}

    status, text = demo(tmp_path, environ, conversations=300)

    assert status == 0, text
    figures = reported(text)
    assert figures["stored"] > 400
    assert figures["rejected"] == DAMAGED
    assert figures["produced"] == sum(figures.values()) - figures["produced"]
    assert "have stopped with this run" in text
    assert {child.pid for child in psutil.Process().children(recursive=True)} == before


def test_the_report_is_what_the_database_says(runs: list[Run], query: Query) -> None:
    for run in runs:
        of_run = f""" FROM "Example" WHERE "modelVersion" = '{run.version}' """
        [(count, flagged)] = query(
            "SELECT count(*), count(*) FILTER (WHERE tags @> ARRAY['needs_review'])" + of_run
        )
        [(counted,)] = query(
            f"SELECT sum(n) FROM intent_window_stats WHERE model_version = '{run.version}'"
        )
        assert count == counted == reported(run.text)["stored"] > 200
        assert re.search(rf"flagged +{flagged} ", run.text)
        for intent, n, mean in query(
            'SELECT "predictedIntent", count(*), avg(confidence)' + of_run + "GROUP BY 1"
        ):
            shown = re.search(rf"^{intent} +{n} +([\d.]+) ", run.text, re.MULTILINE)
            assert shown, intent
            assert float(shown[1]) == pytest.approx(mean, abs=0.006)


def test_each_run_has_its_own_topic_and_dead_letters(
    runs: list[Run], query: Query, kafka: KafkaServer
) -> None:
    topics = [topic for (topic,) in query("SELECT DISTINCT topic FROM conversation_batch")]

    assert len(topics) == len(runs)
    assert [dead_letters(kafka, f"{topic}.dlq") for topic in topics] == [DAMAGED, DAMAGED]
    assert [reported(run.text)["rejected"] for run in runs] == [DAMAGED, DAMAGED]


def test_messages_keep_what_the_bot_knew_of_them(runs: list[Run], query: Query) -> None:
    [(channels, languages, steps)] = query(
        """
        SELECT array_agg(DISTINCT channel ORDER BY channel),
               array_agg(DISTINCT language ORDER BY language), count(DISTINCT "currentStep")
        FROM "Example" WHERE "sessionId" IS NOT NULL AND "messageId" IS NOT NULL
        """
    )

    assert channels == ["rcs", "telegram", "web", "whatsapp"]
    assert languages == ["en", "hi", "hi-Latn"]
    assert steps == 5


def test_the_bots_log_can_be_searched_for_conversation(runs: list[Run]) -> None:
    log = (runs[0].folder / "bot.log").read_text()

    assert re.search(r"conversation Logged: '.*'\.\.\. → intent: \w+, confidence: \d+%", log)
    assert re.search(r"conversation Sent 10 conversation logs to Kafka \(\d+ flagged", log)


def dead_letters(kafka: KafkaServer, topic: str) -> int:
    settings = {"bootstrap.servers": kafka.bootstrap_servers, "group.id": "count"}
    consumer = Consumer(settings)
    try:
        first, after_last = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
    finally:
        consumer.close()
    return int(after_last - first)


def test_a_worker_that_ends_is_reported_with_where_to_look(
    tmp_path: Path, given: dict[str, str]
) -> None:
    status, text = demo(tmp_path, {**given, "WINDOW_SECONDS": "7"}, conversations=10)

    assert status == 1
    assert "the worker has ended" in text
    log = tmp_path / "worker" / "server.log"
    assert str(log) in text.replace("\n", "")
    assert "WINDOW_SECONDS" in log.read_text()


def test_a_kafka_that_is_away_is_said_in_a_line(tmp_path: Path, given: dict[str, str]) -> None:
    nobody = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}

    status, text = demo(tmp_path, {**given, **nobody}, conversations=1)

    assert status == 1
    assert "no Kafka answers at 127.0.0.1:1" in text


def test_up_goes_on_until_it_is_told_to_stop(
    tmp_path: Path, given: dict[str, str], query: Query, eventually: Any
) -> None:
    def stored() -> int:
        return int(query("SELECT coalesce(sum(stored), 0) FROM conversation_batch")[0][0])

    migrate(given["DATABASE_URL"])
    before = stored()
    port = free_port()
    api = {
        "INTENTLOOP_API_PORT": str(port),
        "INTENTLOOP_NLU_PORT": str(free_port()),
        "INTENTLOOP_ADMIN_KEY": "a-key-for-this-test-alone",
    }
    command = [sys.executable, "-m", "intentloop_cli", "up", "--folder", str(tmp_path)]
    with subprocess.Popen(
        command, env={**given, **api}, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            eventually(lambda: stored() > before + 5, timeout=90)
            assert len(examples(port, api["INTENTLOOP_ADMIN_KEY"])) > 5
            process.send_signal(signal.SIGINT)
            text, _ = process.communicate(timeout=20)
        finally:
            process.kill()

    assert process.returncode == 0, text
    assert reported(text)["stored"] == stored() - before > 5
    assert f"export ADMIN_BACKEND_URL=http://127.0.0.1:{port}" in text
    assert "export KEY=a-key-for-this-test-alone" in text


def examples(port: int, key: str) -> list[Any]:
    address = f"http://127.0.0.1:{port}/api/training/datasets/ds-auto-training/examples"
    with urlopen(Request(address, headers={"X-API-KEY": key}), timeout=10) as answer:
        return list(json.load(answer))
