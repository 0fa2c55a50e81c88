"""The worker where there is no database: files are the store, and go into Postgres later."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient

from intentloop_schemas.kafka import KafkaSettings
from intentloop_sink import migrate
from intentloop_sink.catalogue import FileReader
from intentloop_stream.settings import WorkerSettings
from support import tables
from support.api import DATASETS, Api, configuration, running_api
from support.processes import StartWorker
from support.proof import prove_exactly_once, require_same
from support.recompute import Expected, read_log, recompute
from support.traffic import Message, hostile_traffic, produce

MINUTES_AGO = 600_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where all workers and the API keep their files."""
    return tmp_path / "fallback"


@pytest.fixture
def start_file_worker(start_worker: StartWorker) -> StartWorker:
    """A function that starts workers without a database."""
    return lambda **more: start_worker(DATABASE_URL="", **more)


@pytest.fixture
def accounted(folder: Path) -> Iterator[Callable[[], int]]:
    """A function that returns how many records the files account for."""
    reader = FileReader(folder, window_seconds=30)

    def count() -> int:
        with reader.reading() as catalogue:
            return catalogue.pipeline.totals().accounted

    yield count
    reader.close()


def traffic(seed: int) -> list[Message]:
    return list(hostile_traffic(3_000, seed, int(time.time() * 1000) - MINUTES_AGO))


def acknowledged(kafka: Any, topic: str) -> int:
    """Return the sum of the offsets of the group that stores in files."""
    group = f"group-{topic}-files"
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    answer = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
    return sum(max(0, p.offset) for p in answer[group].result(10).topic_partitions)


def over_the_same_folder(kafka: Any, topic: str, folder: Path) -> Any:
    """Run an API in JSON mode beside the workers."""
    configured = configuration(None, folder)
    return running_api(
        replace(
            configured,
            kafka=KafkaSettings(bootstrap_servers=kafka.bootstrap_servers),
            worker=WorkerSettings(topic=topic),
        )
    )


def answered(api: Api) -> dict[str, tuple[Any, ...]]:
    """Return every example that the API tells of, in the form of the recomputation."""
    examples = {}
    for dataset in api.get(DATASETS).json():
        url: str | None = f"{DATASETS}/{dataset['id']}/examples?limit=1000"
        while url:
            page = api.get(url)
            examples |= {one["id"]: one for one in page.json()}
            url = page.links.get("next", {}).get("url")
    return {key: (one["datasetId"], one["input"], one["intent"]) for key, one in examples.items()}


def require_answers(api: Api, expected: Expected) -> None:
    """Raise AssertionError unless the API tells what the recomputation does."""
    wanted = {key: (row[0], row[2], row[3]) for key, row in expected.examples.items()}
    require_same("examples", answered(api), wanted)
    health = api.get("/api/health/pipeline").json()
    records = {name: health["records"][name] for name in ("stored", "duplicates", "rejected")}
    assert records == {
        "stored": len(expected.examples),
        "duplicates": expected.duplicates,
        "rejected": len(expected.dead),
    }
    assert health["lag"] == 0
    for dataset in {row[0] for row in expected.examples.values()}:
        hours = api.get(f"/api/stats/windows?datasetId={dataset}&granularity=hour").json()
        counts = [
            sum(row[i] for key, row in expected.hours.items() if key[0] == dataset)
            for i in (0, 1, 4)
        ]
        assert [sum(h[n] for h in hours) for n in ("count", "flagged", "late")] == counts


def test_without_a_database_conversations_go_into_files_from_which_the_api_answers(
    kafka: Any,
    conversations: str,
    database_url: str,
    folder: Path,
    start_file_worker: StartWorker,
    accounted: Callable[[], int],
    eventually: Any,
) -> None:
    servers, records = kafka.bootstrap_servers, traffic(11)
    with over_the_same_folder(kafka, conversations, folder) as api:
        worker = start_file_worker()
        produced = produce(servers, conversations, iter(records[:2_000]))
        eventually(lambda: accounted() == produced, 60, "the first are in files")
        assert worker.stop() == 0
        assert worker.says("DATABASE_URL is not set")

        again = start_file_worker()
        produced += produce(servers, conversations, iter(records[2_000:]))
        eventually(lambda: accounted() >= produced, 60, "all are in files")
        assert again.stop() == 0

        assert acknowledged(kafka, conversations) == produced
        require_answers(api, recompute(read_log(servers, conversations)))

    environment = {**os.environ, "DATABASE_URL": database_url, "FALLBACK_DIR": str(folder)}
    migrate(database_url)
    command = [sys.executable, "-m", "intentloop_cli", "replay"]
    subprocess.run(command, env=environment, check=True, timeout=60)
    prove_exactly_once(servers, conversations, database_url)
    assert again.spooled() == []


def test_workers_that_come_and_go_without_a_database_lose_nothing_until_there_is_one(
    kafka: Any,
    conversations: str,
    database_url: str,
    start_worker: StartWorker,
    start_file_worker: StartWorker,
    accounted: Callable[[], int],
    eventually: Any,
) -> None:
    servers, records = kafka.bootstrap_servers, traffic(12)
    first = start_file_worker()
    produced = produce(servers, conversations, iter(records[:1_000]))
    eventually(lambda: accounted() == produced, 60, "the first are in files")
    second = start_file_worker()
    eventually(lambda: second.says('"event": "assigned"'), 60, "the second has partitions")
    produced += produce(servers, conversations, iter(records[1_000:2_000]))
    eventually(lambda: accounted() >= produced, 60, "both store")
    produced += produce(servers, conversations, iter(records[2_000:]))
    assert first.stop() == 0
    eventually(lambda: accounted() >= produced, 60, "the second takes over")
    assert accounted() == produced
    assert second.stop() == 0

    with_database = start_worker()
    eventually(lambda: tables.accounted(database_url) == produced, 60, "all is in Postgres")
    eventually(lambda: with_database.spooled() == [], 40, "the files are gone")
    assert with_database.stop() == 0
    prove_exactly_once(servers, conversations, database_url)
