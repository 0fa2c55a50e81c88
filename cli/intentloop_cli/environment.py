"""What every command needs: settings from the environment, where to print, how to end."""

from __future__ import annotations

from typing import NoReturn, TypeVar

import typer
from pydantic import ValidationError
from pydantic_settings import BaseSettings
from rich.console import Console

from intentloop_cli import configuration
from intentloop_schemas.kafka import KafkaSettings
from intentloop_schemas.pii_settings import PiiSettings
from intentloop_sink import DatabaseSettings

USAGE_ERROR = 2
FAILURE = 1

out = Console()
err = Console(stderr=True)

S = TypeVar("S", bound=BaseSettings)


def kafka_settings() -> KafkaSettings:
    """Return where Kafka is; without a broker the command ends with status 2."""
    kafka = read(KafkaSettings)
    if kafka.bootstrap_servers is None:
        fail(
            "KAFKA_BOOTSTRAP_SERVERS is not set: give the brokers as host:port, separated by "
            "commas. `intentloop up` starts local ones.",
            USAGE_ERROR,
        )
    return kafka


def database_settings() -> DatabaseSettings:
    """Return where the database is; without one the command ends with status 2."""
    database = read(DatabaseSettings)
    if database.database_url is None:
        fail(
            "DATABASE_URL is not set: give it as postgresql://user:password@host:5432/name. "
            "`intentloop up` starts a local one.",
            USAGE_ERROR,
        )
    return database


def pii_settings() -> PiiSettings:
    """Return what is kept of senders; when its key is missing the command ends with status 2."""
    pii = read(PiiSettings)
    try:
        pii.rule()
    except ValueError as error:
        fail(str(error), USAGE_ERROR)
    return pii


def read(part: type[S]) -> S:
    """Read settings from the environment; a wrong one ends the command with status 2."""
    try:
        return part()
    except ValidationError as error:
        problems = (
            f"{configuration.variable(part, str(detail['loc'][0]))}: "
            f"{detail['msg'].removeprefix('Value error, ')}"
            for detail in error.errors(include_input=False)
        )
        fail("\n".join(problems), USAGE_ERROR)


def fail(message: str, status: int) -> NoReturn:
    """End the command with a message on standard error."""
    err.print(message, style="red", highlight=False, soft_wrap=True, markup=False)
    raise typer.Exit(status)
