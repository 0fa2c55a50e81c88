"""A storm of dead letters: the alarm, and the worker that stops before the topic is emptied."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from support import tables
from support.processes import StartWorker
from support.proof import dead_letters, prove_exactly_once
from support.traffic import VALID, Message, hostile_traffic, produce

SMALL = {"INTENTLOOP_STORM_RECORDS": "100", "BATCH_SIZE": "10", "BATCH_SECONDS": "1"}


def poison(count: int) -> Iterator[Message]:
    now = int(time.time() * 1000)
    return (Message(f"s{n}".encode(), b"{", now, b"invalid_json") for n in range(count))


def good(count: int, seed: int) -> Iterator[Message]:
    traffic = hostile_traffic(2 * count, seed, int(time.time() * 1000) - 600_000)
    valid = [message for message in traffic if message.expect == VALID]
    return iter(valid[:count])


def test_a_storm_raises_one_alarm_that_says_what_to_do(
    kafka: Any, conversations: str, database_url: str, start_worker: StartWorker, eventually: Any
) -> None:
    worker = start_worker(**SMALL)
    produce(kafka.bootstrap_servers, conversations, poison(400))

    eventually(lambda: tables.accounted(database_url) == 400, 60, "all are dead letters")
    lines = [line for line in worker.log.read_text().splitlines() if "dead_letter_storm" in line]
    assert len(lines) == 1
    for told in ('"bad": 51', '"commonest": "invalid_json"', "intentloop dlq list"):
        assert told in lines[0]
    assert worker.stop() == 0


def test_so_configured_a_storm_stops_the_worker_before_more_is_emptied(
    kafka: Any, conversations: str, database_url: str, start_worker: StartWorker, eventually: Any
) -> None:
    worker = start_worker(**SMALL, INTENTLOOP_STORM_STOP="true")
    stored = produce(kafka.bootstrap_servers, conversations, good(200, seed=1))
    eventually(lambda: tables.accounted(database_url) == stored, 60, "the good ones are stored")

    produced = stored + produce(kafka.bootstrap_servers, conversations, poison(400))

    assert worker.process.wait(60) == 1
    assert not worker.says("Traceback")
    (line,) = [line for line in worker.log.read_text().splitlines() if '"worker_ends"' in line]
    assert "a storm of dead letters" in line
    assert "INTENTLOOP_STORM_STOP=false" in line
    letters = dead_letters(kafka.bootstrap_servers, f"{conversations}.dlq")
    assert len(letters) <= 50
    assert tables.accounted(database_url) <= stored + len(letters)

    again = start_worker(**SMALL, INTENTLOOP_STORM_STOP="true")
    assert again.process.wait(60) == 1
    letters = dead_letters(kafka.bootstrap_servers, f"{conversations}.dlq")
    assert len(letters) <= 100

    start_worker(**SMALL, INTENTLOOP_STORM_STOP="false")
    produced += produce(kafka.bootstrap_servers, conversations, good(50, seed=2))
    eventually(lambda: tables.accounted(database_url) == produced, 60, "all is accounted for")
    prove_exactly_once(kafka.bootstrap_servers, conversations, database_url)


@pytest.mark.parametrize("stop", ["true", "false"])
def test_a_database_that_refuses_everything_is_a_storm_too(
    kafka: Any,
    conversations: str,
    database_url: str,
    start_worker: StartWorker,
    eventually: Any,
    stop: str,
) -> None:
    worker = start_worker(**SMALL, INTENTLOOP_STORM_STOP=stop)
    broken = 'ALTER TABLE "Example" ADD CONSTRAINT broken CHECK (intent IS NULL)'
    tables.query(database_url, broken)

    produced = produce(kafka.bootstrap_servers, conversations, good(300, seed=3))

    eventually(lambda: worker.says("dead_letter_storm"), 60)
    if stop == "true":
        assert worker.process.wait(60) == 1
        assert worker.says('"worker_ends"')
        assert not worker.says("Traceback")
        letters = dead_letters(kafka.bootstrap_servers, f"{conversations}.dlq")
        assert len(letters) <= 50
        assert tables.accounted(database_url) <= len(letters)
        tables.query(database_url, 'ALTER TABLE "Example" DROP CONSTRAINT broken')
        start_worker(**SMALL, INTENTLOOP_STORM_STOP=stop)
    eventually(lambda: tables.accounted(database_url) == produced, 60, "all is accounted for")
