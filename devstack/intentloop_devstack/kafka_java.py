"""Apache Kafka as a Java process: one node in KRaft mode, on loopback."""

from __future__ import annotations

import base64
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from intentloop_devstack.claim import Claim
from intentloop_devstack.errors import StartError
from intentloop_devstack.kafka_jars import fetch_jars, find_java
from intentloop_devstack.ports import LOOPBACK, answers, free_port, on_free_port
from intentloop_devstack.process import ServerProcess

_JVM = (
    "-Xms64m",
    "-Xmx384m",
    "-XX:+UseSerialGC",
    # A broker that lives for minutes: compiling for hours of use is most of its start.
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Djava.awt.headless=true",
)
_ANSWER_SECONDS = 2.0
PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "CLIENTS",
    "listener.security.protocol.map": (
        "CLIENTS:PLAINTEXT,PROXIED:PLAINTEXT,SECURED:SASL_SSL,CONTROLLER:PLAINTEXT"
    ),
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # Retention goes by the records' timestamps, and test data may be years old.
    "log.retention.ms": "-1",
    # A broker killed and started again waits for its former self to expire, 9 s by default.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    # 128 MB by default, a third of the heap.
    "log.cleaner.dedupe.buffer.size": "8388608",
    "num.network.threads": "2",
    "num.io.threads": "4",
}
_LOGGING = """\
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %-5p %c{1}: %m%n
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
logger.values.name = org.apache.kafka.common.config
logger.values.level = WARN
logger.configs.name = kafka.server.KafkaConfig
logger.configs.level = WARN
"""


_MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-512")
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


@dataclass(frozen=True)
class Secured:
    """A listener over TLS, whose one user signs in by SCRAM."""

    certificate: Path
    """PEM file with the private key (PKCS #8) and the chain of certificates."""
    username: str
    password: str

    @property
    def properties(self) -> dict[str, str]:
        """What the broker has to be told."""
        named = {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.certificate),
            "sasl.enabled.mechanisms": ",".join(_MECHANISMS),
            **{f"{name.lower()}.sasl.jaas.config": _SCRAM for name in _MECHANISMS},
        }
        return {f"listener.name.secured.{name}": value for name, value in named.items()}

    @property
    def user(self) -> list[str]:
        """Arguments that make the user when the data folder is laid out."""
        about = f"[name={self.username},password={self.password}]"
        return [f"--add-scram={name}={about}" for name in _MECHANISMS]


@dataclass(frozen=True)
class Broker:
    """A broker that serves."""

    process: ServerProcess
    address: str
    behind_proxy: str | None
    secured: str | None


def start(
    place: Claim,
    *,
    environ: Mapping[str, str],
    jars: Path,
    properties: Mapping[str, str],
    proxy_port: int | None,
    secured: Secured | None,
    fresh: bool,
) -> Broker:
    """Start a broker in the claimed folder and wait until it serves (about 3 s).

    Raises:
        UnavailableError: Java or Maven is missing or not good enough, or Kafka did not start.
    """
    java = find_java(environ)
    node = _Node(java, fetch_jars(jars, environ=environ), place, environ)
    if secured:
        properties = {**secured.properties, **properties}
    if fresh:
        shutil.rmtree(node.data, ignore_errors=True)
    node.place.folder.joinpath("log4j2.properties").write_text(_LOGGING)
    node.format(properties, secured.user if secured else [])
    return on_free_port(
        lambda port: node.serve(
            _network(port, proxy_port, is_secured=secured is not None), properties
        )
    )


@dataclass(frozen=True)
class _Node:
    java: str
    jars: Path
    place: Claim
    environ: Mapping[str, str]

    @property
    def data(self) -> Path:
        return self.place.folder / "data"

    @property
    def settings(self) -> Path:
        return self.place.folder / "server.properties"

    def command(self, main_class: str, *arguments: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self.place.folder / 'log4j2.properties'}"
        return [self.java, *_JVM, logging, "-cp", f"{self.jars}/*", main_class, *arguments]

    def format(self, properties: Mapping[str, str], users: Sequence[str]) -> None:
        """Lay out an empty data folder, unless there is one: whole or not at all."""
        if self.data.exists():
            return
        blank = self.place.folder / "data.new"
        shutil.rmtree(blank, ignore_errors=True)
        self._write({**_network(free_port()), **properties, "log.dirs": str(blank)})
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        options = [f"--cluster-id={cluster}", "-c", str(self.settings), *users]
        tool = self.command("kafka.tools.StorageTool", "format", *options)
        answer = subprocess.run(
            tool, env=dict(self.environ), capture_output=True, text=True, check=False
        )
        if answer.returncode != 0:
            raise StartError(f"Kafka's data folder could not be laid out: {answer.stderr[-1000:]}")
        blank.rename(self.data)

    def serve(self, network: Mapping[str, str], properties: Mapping[str, str]) -> Broker:
        """Start the broker and wait until it serves."""
        self._write({**network, **properties, "log.dirs": str(self.data)})
        listeners = self._listeners()
        process = ServerProcess(
            name="Kafka",
            command=self.command("kafka.Kafka", str(self.settings)),
            claim=self.place,
            ready=Readiness(listeners["CLIENTS"], self._cluster()),
            environ=self.environ,
        )
        process.start()
        return Broker(
            process, listeners["CLIENTS"], listeners.get("PROXIED"), listeners.get("SECURED")
        )

    def _listeners(self) -> dict[str, str]:
        """Return where the broker listens: name to host:port."""
        named = _read(self.settings)["listeners"].split(",")
        return dict(listener.split("://") for listener in named)

    def _cluster(self) -> str:
        return _read(self.data / "meta.properties")["cluster.id"]

    def _write(self, properties: Mapping[str, str]) -> None:
        lines = (f"{name}={value}\n" for name, value in {**PROPERTIES, **properties}.items())
        self.settings.write_text("".join(lines))


def _network(
    port: int, proxy_port: int | None = None, *, is_secured: bool = False
) -> dict[str, str]:
    controller = f"{LOOPBACK}:{free_port()}"
    listeners = {"CLIENTS": f"{LOOPBACK}:{port}"}
    advertised = dict(listeners)
    if proxy_port is not None:
        listeners["PROXIED"] = f"{LOOPBACK}:{free_port()}"
        advertised["PROXIED"] = f"{LOOPBACK}:{proxy_port}"
    if is_secured:
        listeners["SECURED"] = advertised["SECURED"] = f"{LOOPBACK}:{free_port()}"
    return {
        "listeners": _joined({**listeners, "CONTROLLER": controller}),
        "advertised.listeners": _joined(advertised),
        "controller.quorum.voters": f"1@{controller}",
    }


def _joined(listeners: Mapping[str, str]) -> str:
    return ",".join(f"{name}://{address}" for name, address in listeners.items())


def _read(properties: Path) -> dict[str, str]:
    lines = properties.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@dataclass
class Readiness:
    """Serves when it is our cluster that answers: another start may have taken the port."""

    address: str
    cluster: str | None
    """The id of the cluster, None when any will do."""

    def __call__(self) -> bool:
        """Tell whether it serves; waits two seconds at most."""
        if not answers(int(self.address.rpartition(":")[2])):
            return False
        client = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        try:
            answer = client.list_topics(timeout=_ANSWER_SECONDS)
        except KafkaException:
            return False
        return bool(answer.brokers) and self.cluster in (None, answer.cluster_id)
