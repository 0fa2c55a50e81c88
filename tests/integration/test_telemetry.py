"""What a worker tells over HTTP while it works."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from intentloop_devstack.ports import free_port
from support.processes import StartWorker, Worker
from support.traffic import VALID, Message, produce


def get(port: int, path: str) -> tuple[int, str]:
    """Return status and body; status 0 when nobody listens."""
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()
    except URLError:
        return 0, ""


def metrics(port: int) -> dict[str, float]:
    """Return the samples by name, with the first label's value behind a colon."""
    text = get(port, "/metrics")[1]
    return {
        ":".join([sample.name, *list(sample.labels.values())[:1]]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def messages(count: int) -> list[Message]:
    now = int(time.time() * 1000)
    events = [
        {
            "phoneNumber": "+15550100",
            "messageText": "where is my order",
            "intent": "track_order",
            "confidence": 0.5 if number == 0 else 0.9,
            "timestamp": now,
            "eventId": f"e-{number}",
        }
        for number in range(count)
    ]
    return [Message(b"+15550100", json.dumps(event).encode(), now, VALID) for event in events]


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def worker(start_worker: StartWorker, port: int) -> Worker:
    return start_worker(INTENTLOOP_METRICS_PORT=str(port), BATCH_SECONDS="1")


def test_it_counts_what_became_of_every_record(
    kafka: Any, conversations: str, worker: Worker, port: int, eventually: Any
) -> None:
    good = messages(12)
    bad = good[0]._replace(value=b"{")
    produce(kafka.bootstrap_servers, conversations, iter([*good, good[0], bad]))

    counted = eventually(
        lambda: (m := metrics(port)).get("intentloop_records_total:stored") == 12 and m, 60
    )

    assert counted["intentloop_records_total:duplicate"] == 1
    assert counted["intentloop_records_total:rejected"] == 1
    assert counted["intentloop_rejected_records_total:invalid_json"] == 1
    assert counted["intentloop_flagged_events_total"] == 1
    assert counted["intentloop_batches_total"] == 2
    assert counted["intentloop_commit_seconds_count"] >= 1
    assert counted["intentloop_batch_age_seconds_sum"] > 0
    assert sum(v for name, v in counted.items() if name.startswith("intentloop_lag_")) == 0
    assert time.time() - counted["intentloop_last_commit_timestamp_seconds"] < 60


def test_it_says_whether_it_lives_and_takes_anything(
    worker: Worker, port: int, eventually: Any
) -> None:
    eventually(lambda: get(port, "/readyz")[0] == 200, 60, "the worker is ready")

    assert get(port, "/healthz") == (200, '{"status": "ok"}')
    assert get(port, "/nothing")[0] == 404


def test_a_worker_without_its_database_lives_but_is_not_ready(
    start_worker: StartWorker, port: int, eventually: Any
) -> None:
    away = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    start_worker(INTENTLOOP_METRICS_PORT=str(port), DATABASE_URL=away)
    eventually(lambda: get(port, "/healthz")[0] == 200, 60, "the worker lives")

    status, body = get(port, "/readyz")

    assert status == 503
    assert "the database has not answered" in body


def test_a_taken_port_is_one_clear_line(
    worker: Worker, start_worker: StartWorker, port: int, eventually: Any
) -> None:
    eventually(lambda: get(port, "/healthz")[0] == 200, 60, "the first worker listens")

    second = start_worker(INTENTLOOP_METRICS_PORT=str(port))

    assert second.process.wait(60) == 1
    assert second.says("INTENTLOOP_METRICS_PORT cannot be used")
