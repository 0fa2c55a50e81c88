"""An API in this process, on real stores, and a client for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn
from fastapi.testclient import TestClient

from intentloop_admin.app import create_app
from intentloop_admin.security.authentication import HEADER
from intentloop_admin.security.keys import create_key
from intentloop_admin.security.scopes import Scope
from intentloop_admin.services import Configuration, Services
from intentloop_admin.settings import ApiSettings
from intentloop_schemas.kafka import KafkaSettings
from intentloop_sink import DatabaseSettings
from intentloop_sink.spool import SpoolSettings
from intentloop_training.jobs.settings import JobSettings

ADMIN_KEY = "an-admin-key-for-tests-alone"
BULK = "/api/training/conversations/bulk"
DATASETS = "/api/training/datasets"
JOBS = "/api/training/jobs"
STATS = "/api/stats/"
NOON = 1_700_000_000_000
SEED = {
    "phoneNumber": "+919876543210",
    "messageText": "where is my order?",
    "intent": "track_order",
    "confidence": 0.95,
    "currentStep": "main_menu",
    "timestamp": 1698345600000,
}


class Api(TestClient):
    """A client with the bootstrap key, and a way to make others."""

    services: Services

    def key(
        self, *scopes: Scope, datasets: Sequence[str] | None = None, **fields: Any
    ) -> dict[str, str]:
        """Make a key and return the header that carries it."""
        now = datetime.now(UTC)
        text, stored = create_key("test", scopes, now=now, datasets=datasets, **fields)
        self.services.keys.add(stored)
        return {HEADER: text}

    def log(self, *conversations: dict[str, Any], **options: Any) -> Any:
        """Post conversations."""
        return self.post(BULK, json={"conversations": conversations}, **options)


def configuration(url: str | None, folder: Path, **api: Any) -> Configuration:
    """Return the settings of an API, whatever the environment says."""
    return Configuration(
        api=ApiSettings(admin_key=ADMIN_KEY, **api),
        database=DatabaseSettings(database_url=url),
        spool=SpoolSettings(folder=folder),
        kafka=KafkaSettings(bootstrap_servers=None),
        jobs=JobSettings(jobs_dir=folder / "jobs"),
    )


@contextmanager
def running_api(configured: Configuration) -> Iterator[Api]:
    """Run an API as long as the context lasts."""
    services = Services(configured)
    api = Api(create_app(services), headers={HEADER: ADMIN_KEY}, raise_server_exceptions=False)
    api.services = services
    with api:
        yield api


@contextmanager
def serving(configured: Configuration) -> Iterator[str]:
    """Run an API on a port of its own, and yield its address."""
    server = uvicorn.Server(
        uvicorn.Config(create_app(Services(configured)), port=0, log_config=None, access_log=False)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the API has not started"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def conversation(number: int = 0, **fields: Any) -> dict[str, Any]:
    """Return an event as a client sends it; each number is another one."""
    return {
        "phoneNumber": "+919876543210",
        "messageText": "where is my order?",
        "intent": "track_order",
        "confidence": 0.95,
        "currentStep": "main_menu",
        "timestamp": NOON + number,
        **fields,
    }
