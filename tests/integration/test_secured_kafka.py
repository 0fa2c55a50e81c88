"""Kafka over TLS with SCRAM: every part signs in, and says clearly why it may not."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
from typer.testing import CliRunner, Result

from intentloop_cli.app import app
from intentloop_devstack import Secured, local_kafka
from intentloop_producer import ConversationLogger, LoggerSettings
from intentloop_schemas.kafka import KafkaSettings
from support import tables
from support.certificates import write_authority, write_certificate
from support.processes import StartWorker, workers

PATIENCE = 60
PASSWORD = "correct horse"
MECHANISMS = ["SCRAM-SHA-256", "SCRAM-SHA-512"]


class House(NamedTuple):
    """A broker that is entered by SASL_SSL only."""

    address: str
    authority: Path
    another: Path
    """An authority that has issued nothing here."""

    def environment(self, **changes: str) -> dict[str, str]:
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.address,
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": MECHANISMS[0],
            "KAFKA_SASL_USERNAME": "alice",
            "KAFKA_SASL_PASSWORD": PASSWORD,
            "KAFKA_SSL_CA_LOCATION": str(self.authority),
            "INTENTLOOP_TOPIC": f"conversations-{uuid.uuid4().hex[:8]}",
            **changes,
        }


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, kafka_jars: Path) -> Iterator[House]:
    if not (shutil.which("java") and shutil.which("mvn")):
        pytest.skip("needs Java 17 and Maven")
    folder = tmp_path_factory.mktemp("secured")
    authority = trustme.CA()
    certificate = write_certificate(authority, folder / "broker.pem", "127.0.0.1")
    secured = Secured(certificate, "alice", PASSWORD)
    environ = {name: text for name, text in os.environ.items() if not name.startswith("KAFKA_")}
    with local_kafka(
        folder, environ=environ, prefer="java", jars=kafka_jars, secured=secured
    ) as server:
        assert server.secured
        trusted = write_authority(authority, folder / "authority.pem")
        another = write_authority(trustme.CA(), folder / "another.pem")
        yield House(server.secured, trusted, another)


def run(environment: dict[str, str], *command: str) -> Result:
    return CliRunner(env=environment).invoke(app, command)


def settings(environment: dict[str, str]) -> KafkaSettings:
    given = {
        name.removeprefix("KAFKA_").lower(): text
        for name, text in environment.items()
        if name.startswith("KAFKA_")
    }
    return KafkaSettings.model_validate(given)


def talk(environment: dict[str, str]) -> ConversationLogger:
    """Return a logger that has been given ten messages."""
    logger = ConversationLogger(
        LoggerSettings(topic=environment["INTENTLOOP_TOPIC"]), kafka=settings(environment)
    )
    for number in range(10):
        assert logger.log(
            phone_number="+15550100", message_text=str(number), intent="greet", confidence=0.9
        )
    return logger


@pytest.fixture
def start_worker(database_url: str, tmp_path: Path) -> Iterator[StartWorker]:
    fixed = {"DATABASE_URL": database_url, "FALLBACK_DIR": str(tmp_path / "fallback")}
    with workers(fixed, tmp_path) as start:
        yield start


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_topics_logger_worker_and_doctor_sign_in(
    house: House, mechanism: str, database_url: str, start_worker: StartWorker, eventually: Any
) -> None:
    environment = house.environment(KAFKA_SASL_MECHANISM=mechanism, DATABASE_URL=database_url)
    environment["INTENTLOOP_GROUP"] = environment["INTENTLOOP_TOPIC"]

    created = run(environment, "topics", "create")
    assert created.exit_code == 0, created.output
    assert f"Created {environment['INTENTLOOP_TOPIC']}." in created.stdout

    with talk(environment) as logger:
        assert logger.flush(PATIENCE) == 0

    worker = start_worker(**environment)
    eventually(lambda: tables.accounted(database_url) == 10, PATIENCE, "ten events are stored")
    assert worker.stop() == 0

    examined = run(environment, "doctor")
    assert examined.exit_code == 0, examined.output
    assert "wrong" not in examined.stdout


WRONG: dict[str, tuple[Callable[[House], dict[str, str]], str]] = {
    "password": (
        lambda _: {"KAFKA_SASL_PASSWORD": "wrong horse"},
        "check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM",
    ),
    "authority": (
        lambda house: {"KAFKA_SSL_CA_LOCATION": str(house.another)},
        "check KAFKA_SSL_CA_LOCATION and the name in the certificate",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_who_may_not_sign_in_is_told_what_to_check(
    house: House, wrong: str, start_worker: StartWorker, database_url: str,
    caplog: pytest.LogCaptureFixture, eventually: Any,
) -> None:  # fmt: skip
    change, says = WRONG[wrong]
    environment = house.environment(**change(house), DATABASE_URL=database_url)

    worker = start_worker(**environment)
    logger = talk(environment)
    created = run(environment, "topics", "create")
    assert created.exit_code == 1
    assert says in created.stderr

    examined = run(environment, "doctor")
    assert examined.exit_code == 1
    assert says in " ".join(examined.stdout.split())

    assert logger.flush(0) == 10
    eventually(lambda: says in caplog.text)
    logger.close(0)

    assert worker.process.wait(PATIENCE) != 0
    assert worker.says(says)
    for said in (created.output, examined.output, caplog.text, worker.log.read_text()):
        assert "horse" not in said


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"KAFKA_SASL_USERNAME": ""}, "KAFKA_SASL_USERNAME: is not set, and KAFKA_SECURITY_PRO"),
        ({"KAFKA_SASL_PASSWORD": ""}, "KAFKA_SASL_PASSWORD: is not set, and KAFKA_SECURITY_PRO"),
        ({"KAFKA_SASL_MECHANISM": ""}, "KAFKA_SASL_MECHANISM: is not set, and KAFKA_SECURITY_P"),
        ({"KAFKA_SASL_MECHANISM": "SCRAM"}, "KAFKA_SASL_MECHANISM: Input should be 'PLAIN', 'SC"),
        ({"KAFKA_SSL_CA_LOCATION": "/nowhere"}, "KAFKA_SSL_CA_LOCATION: there is no such file"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, change: dict[str, str], says: str) -> None:
    nowhere = House("127.0.0.1:1", tmp_path / "authority.pem", tmp_path)
    nowhere.authority.touch()

    result = run(nowhere.environment(**change), "topics", "create")

    assert result.exit_code == 2
    assert says in result.stderr
