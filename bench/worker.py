"""Times the worker, a process of its own, from its assignment to its last commit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import psycopg2

POLL_SECONDS = 0.05
PATIENCE_SECONDS = 300.0


def seconds(bootstrap_servers: str, topic: str, url: str, events: int) -> float:
    """Return the seconds from the first position assigned until every event is committed."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "worker.log"
        process = _start(bootstrap_servers, topic, url, log)
        try:
            finished = _wait(url, events, process, log)
            return finished - _assigned_at(log)
        finally:
            process.terminate()
            process.wait(20)


def _start(bootstrap_servers: str, topic: str, url: str, log: Path) -> subprocess.Popen[bytes]:
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "DATABASE_URL": url,
        "INTENTLOOP_TOPIC": topic,
        "INTENTLOOP_GROUP": Path(url).name,
        # The last few events would otherwise wait for their batch's age.
        "BATCH_SECONDS": "1",
        "FALLBACK_DIR": str(log.with_name("fallback")),
    }
    with log.open("wb") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "intentloop_cli", "worker"],
            env={**os.environ, **environment},
            stderr=stream,
        )


def _wait(url: str, events: int, process: subprocess.Popen[bytes], log: Path) -> float:
    deadline = time.time() + PATIENCE_SECONDS
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        while time.time() < deadline and process.poll() is None:
            cursor.execute("SELECT coalesce(sum(stored), 0) FROM conversation_batch")
            if cursor.fetchone() == (events,):
                connection.close()
                return time.time()
            time.sleep(POLL_SECONDS)
    raise RuntimeError(f"the worker did not store {events} events:\n{log.read_text()[-2000:]}")


def _assigned_at(log: Path) -> float:
    for line in log.read_text().splitlines():
        if line.startswith("{") and json.loads(line).get("event") == "assigned":
            return datetime.fromisoformat(json.loads(line)["timestamp"]).timestamp()
    raise RuntimeError(f"the worker got no assignment:\n{log.read_text()[-2000:]}")
