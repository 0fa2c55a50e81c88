"""The command line as its users meet it: statuses, messages, and what it never shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from intentloop_cli import configuration
from intentloop_cli.app import app

ROOT = Path(__file__).parents[2]
NOBODY = "127.0.0.1:1"


def run(*arguments: str, **environment: str) -> Result:
    cleared = dict.fromkeys((s.variable for p in configuration.PARTS for s in settings(p)), None)
    runner = CliRunner(env={**cleared, **environment})
    return runner.invoke(app, arguments)


def settings(part: type[configuration.BaseSettings]) -> list[configuration.Setting]:
    return list(configuration.settings_of(part))


@pytest.mark.parametrize("command", [("worker",), ("topics", "create")])
def test_without_a_broker_a_command_ends_with_status_2_and_names_the_variable(
    command: tuple[str, ...],
) -> None:
    result = run(*command)

    assert result.exit_code == 2
    assert "KAFKA_BOOTSTRAP_SERVERS is not set" in result.stderr


@pytest.mark.parametrize("command", ["worker", "migrate"])
def test_without_a_database_a_command_ends_with_status_2_and_names_the_variable(
    command: str,
) -> None:
    result = run(command, KAFKA_BOOTSTRAP_SERVERS=NOBODY)

    assert result.exit_code == 2
    assert "DATABASE_URL is not set" in result.stderr


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("BATCH_SIZE", "0", "greater than or equal to 1"),
        ("WINDOW_SECONDS", "7", "7 does not divide a day"),
        ("CONFIDENCE_THRESHOLD_FOR_REVIEW", "70", "less than or equal to 1"),
        ("DATABASE_URL", "mysql://secret@db", "postgresql://user:password@host:5432/name"),
    ],
)
def test_a_wrong_setting_is_named_with_what_would_be_right(
    variable: str, value: str, says: str
) -> None:
    given = {"KAFKA_BOOTSTRAP_SERVERS": NOBODY, "DATABASE_URL": "postgresql://db/x"}
    result = run("worker", **{**given, variable: value})

    assert result.exit_code == 2
    assert f"{variable}: " in result.stderr
    assert says in result.stderr
    assert "secret" not in result.stderr


def test_a_database_that_is_away_is_one_line_not_a_traceback() -> None:
    result = run("migrate", DATABASE_URL=f"postgresql://{NOBODY}/x")

    assert result.exit_code == 1
    assert "the database does not answer" in result.stderr
    assert result.stderr.count("\n") == 1


def test_doctor_says_what_is_wrong_and_what_to_do() -> None:
    result = run("doctor", KAFKA_BOOTSTRAP_SERVERS=NOBODY, DATABASE_URL=f"postgresql://{NOBODY}/x")

    assert result.exit_code == 1
    findings = " ".join(result.stdout.replace("│", "").split())
    assert "check KAFKA_BOOTSTRAP_SERVERS" in findings
    assert "check DATABASE_URL" in findings


def test_settings_show_what_is_in_force_and_no_secret() -> None:
    result = run(
        "settings",
        BATCH_SIZE="17",
        KAFKA_SASL_PASSWORD="hunter2",
        DATABASE_URL="postgresql://user:hunter2@db/x",
    )

    assert result.exit_code == 0
    assert "17" in result.stdout
    assert "hunter2" not in result.stdout


def test_the_configuration_document_is_what_the_settings_say() -> None:
    assert (ROOT / "docs/configuration.md").read_text() == configuration.markdown()


def test_every_setting_says_what_it_does() -> None:
    described = [s for part in configuration.PARTS for s in settings(part)]

    assert len(described) > 15
    assert all(setting.description for setting in described)


def test_without_the_training_extra_a_command_says_what_to_install() -> None:
    hidden = "import sys; sys.modules['sklearn'] = None; sys.argv = ['intentloop', 'nlu', 'models']"
    command = subprocess.run(
        [sys.executable, "-c", f"{hidden}; from intentloop_cli import main; main()"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert command.returncode == 1
    assert "is not installed. Training and serving need it" in command.stderr
    assert "pip install 'intentloop[worker,training]'" in command.stderr
