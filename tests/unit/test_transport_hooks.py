"""The chunked transport leans on private code of Faust and aiokafka; this fails when that changes.

When it does: read what changed, adapt `intentloop_stream/transport.py`, run the integration tests,
then record the new digest here.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import Fetcher, FetchResult, PartitionRecords
from aiokafka.consumer.subscription_state import Assignment, TopicPartitionState
from faust import App
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport import drivers
from faust.transport.consumer import Consumer
from faust.transport.drivers import aiokafka as driver
from mode import Service, Worker

from intentloop_schemas.kafka import KafkaSettings
from intentloop_stream.configuration import Configuration
from intentloop_stream.transport import SCHEME, Transport
from intentloop_stream.worker import create_app

HOOKS: list[tuple[Callable[..., Any], str]] = [
    (driver.AIOKafkaConsumerThread._create_worker_consumer, "c2701bfc3e6f"),
    (driver.AIOKafkaConsumerThread._fetch_records, "39a2c6c79fc1"),
    (driver.AIOKafkaConsumerThread._commit, "932852ce7a23"),
    (driver.AIOKafkaConsumerThread.on_thread_stop, "8dfc004e258b"),
    (driver.AIOKafkaConsumerThread.on_partitions_revoked, "c44013f1259c"),
    (driver.AIOKafkaConsumerThread.on_partitions_assigned, "e59e8dda4372"),
    (driver.Consumer._new_consumer_thread, "0870ec53dea7"),
    (driver.Consumer._to_message, "7c24f6511b2f"),
    (Consumer.getmany, "4b168d84882a"),
    (Consumer._wait_next_records, "6218e1969a63"),
    (Consumer._add_gap, "4df2573ded7c"),
    (Consumer._new_offset, "1d2c7ea89a7a"),
    (Consumer._drain_messages, "44a2500309e8"),
    (Consumer.perform_seek, "0e8c130ff4b0"),
    (Recovery._resume_streams, "d986a6710c1a"),
    (Recovery._wait, "ec7429b70176"),
    (TableManager.on_start, "365dd25fbc0e"),
    (Worker._sentinel_task, "6e66058cf3e1"),
    (Service.wait_first, "feade6a31f8a"),
    (App.on_stop, "bfe5a933defb"),
    (App._create_directories, "a9f571c3b04a"),
    (AIOKafkaConsumer.start, "2f1ba7044332"),
    (Fetcher.fetched_records, "be4348896b9b"),
    (FetchResult.getall, "3e717e30de50"),
    (PartitionRecords._unpack_records, "b803e6d46480"),
    (Fetcher._proc_fetch_request, "59bf948fff47"),
    (Assignment.state_value, "183fea82ef48"),
    (TopicPartitionState.consumed_to, "c7b8f0f99ce9"),
]


@pytest.mark.parametrize(("hook", "digest"), HOOKS, ids=[hook.__qualname__ for hook, _ in HOOKS])
def test_private_code_is_what_the_transport_was_written_against(
    hook: Callable[..., Any], digest: str
) -> None:
    assert sha256(inspect.getsource(hook).encode()).hexdigest()[:12] == digest


def test_faust_finds_the_transport_by_the_scheme_of_the_broker_url() -> None:
    assert drivers.by_url(f"{SCHEME}://127.0.0.1:9092") is Transport


def test_a_store_that_takes_its_time_to_say_where_it_stands_is_waited_for() -> None:
    async def wait() -> None:
        app = create_app(Configuration(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1")))
        # With Faust's own the wait ends as if the worker were told to stop, and it reads no more.
        await app.tables.recovery._wait(asyncio.sleep(0.2), timeout=0.01)

    asyncio.run(wait())
