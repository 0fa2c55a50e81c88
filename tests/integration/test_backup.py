"""A backup that is brought back: the log fills in what came after it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from intentloop_sink.queries import queries
from support import tables
from support.processes import StartWorker
from support.proof import prove_exactly_once
from support.traffic import hostile_traffic, produce


@pytest.mark.slow_fault
def test_what_came_after_a_backup_is_read_from_the_log_again(
    kafka: Any, conversations: str, database_url: str, start_worker: StartWorker, eventually: Any
) -> None:
    def stored(records: int) -> None:
        eventually(lambda: tables.accounted(database_url) == records, 60, f"{records} are stored")

    servers, start = kafka.bootstrap_servers, 1_760_000_000_000
    first = produce(servers, conversations, hostile_traffic(300, 1, start))
    worker = start_worker(BATCH_SECONDS="0.2")
    stored(first)
    assert worker.stop() == 0
    backup = back_up(database_url)
    both = first + produce(servers, conversations, hostile_traffic(200, 2, start + 60_000))
    worker = start_worker(BATCH_SECONDS="0.2")
    stored(both)
    assert worker.stop() == 0

    bring_back(database_url, backup)
    assert tables.accounted(database_url) == first
    worker = start_worker(BATCH_SECONDS="0.2")
    stored(both)
    assert worker.stop() == 0

    prove_exactly_once(servers, conversations, database_url)
    with queries(database_url) as ask:
        assert ask.gaps() == []


def back_up(url: str) -> str:
    """Copy a database; return the name of the copy."""
    server, name = split(url)
    tables.administer(server, f'CREATE DATABASE "{name}_backup" TEMPLATE "{name}"')
    return f"{name}_backup"


def bring_back(url: str, backup: str) -> None:
    server, name = split(url)
    tables.administer(server, f'DROP DATABASE "{name}" WITH (FORCE)')
    tables.administer(server, f'ALTER DATABASE "{backup}" RENAME TO "{name}"')


def split(url: str) -> tuple[str, str]:
    """Return the address of a database beside one, and the one's name."""
    parts = urlsplit(url)
    return parts._replace(path="/postgres").geturl(), parts.path.lstrip("/")
