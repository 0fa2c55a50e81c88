"""The local servers, on each road for real: set up, killed, paused, and started again."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg2
import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from intentloop_devstack import (
    KafkaServer,
    PostgresServer,
    UnavailableError,
    local_kafka,
    local_postgres,
    ports,
)
from support.local_servers import ENVIRON, ask, open_roads

POSTGRES_ROADS = ["binaries", "wheel"]


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
        # An ordinary user may not look at a process that is just ending.
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            found |= {
                connection.laddr.ip.removeprefix("::ffff:")
                for connection in process.net_connections(kind="tcp")
                if connection.status == psutil.CONN_LISTEN
            }
    return found


@pytest.fixture(scope="module")
def proxy_port() -> int:
    return ports.free_port()


@pytest.fixture(scope="module")
def java_kafka(
    tmp_path_factory: pytest.TempPathFactory, kafka_jars: Path, proxy_port: int
) -> Iterator[KafkaServer]:
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


def test_mock_cluster_takes_records(tmp_path: Path) -> None:
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
def postgres(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PostgresServer]:
    open_roads(postgres=request.param)
    with local_postgres(
        tmp_path_factory.mktemp("postgres"),
        environ=ENVIRON,
        prefer=request.param,
        settings={"work_mem": "5MB"},
        keep=False,
    ) as server:
        yield server


def test_postgres_is_quick_to_have_and_durable(postgres: PostgresServer) -> None:
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


def test_postgres_comes_back_after_a_kill_with_what_was_committed(postgres: PostgresServer) -> None:
    ask(postgres.url, "CREATE TABLE kept AS SELECT 7 AS answer")
    postgres.kill()
    with pytest.raises(psycopg2.OperationalError):
        ask(postgres.url, "SELECT 1")
    postgres.restart()
    assert ask(postgres.url, "SELECT answer FROM kept") == [(7,)]


def test_paused_postgres_freezes_running_sessions_too(postgres: PostgresServer) -> None:
    connection = psycopg2.connect(postgres.url)
    backend = psutil.Process(connection.get_backend_pid())
    postgres.pause()
    assert backend.status() == psutil.STATUS_STOPPED
    postgres.resume()
    assert backend.status() != psutil.STATUS_STOPPED
    connection.cursor().execute("SELECT 1")
    connection.close()


def test_next_postgres_has_the_data_unless_a_fresh_one_is_wanted(tmp_path: Path) -> None:
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


def test_simultaneous_starts_in_one_folder_do_not_meet(tmp_path: Path) -> None:
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


def test_taken_port_is_given_up_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_roads(postgres="wheel")
    with socket.create_server(("127.0.0.1", 0)) as rival:
        taken = rival.getsockname()[1]
        choices = iter([taken, ports.free_port()])
        monkeypatch.setattr(ports, "free_port", lambda: next(choices))
        with local_postgres(tmp_path, environ=ENVIRON, prefer="wheel", keep=False) as server:
            assert ask(server.url, "SELECT 1") == [(1,)]
            assert str(taken) not in server.url
