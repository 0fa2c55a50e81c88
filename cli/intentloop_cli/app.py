"""The commands, each a few lines over the part that does the work."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from intentloop_admin.settings import ApiSettings
from intentloop_cli import configuration
from intentloop_cli.environment import (
    FAILURE,
    database_settings,
    fail,
    kafka_settings,
    out,
    pii_settings,
    read,
)
from intentloop_cli.lazy import lazily
from intentloop_demo.settings import SimulationSettings
from intentloop_schemas.kafka import KafkaSettings
from intentloop_sink import DatabaseSettings, DatabaseUnavailableError, SchemaError
from intentloop_sink.spool import SpoolSettings
from intentloop_stream.settings import WorkerSettings

_ELSEWHERE = {
    "trace": "intentloop_cli.trace:trace",
    "dlq": "intentloop_cli.dlq:app",
    "export": "intentloop_cli.export:export",
    "erase": "intentloop_cli.erase:erase",
    "retention": "intentloop_cli.retention:app",
    "keys": "intentloop_cli.keys:app",
    "jobs": "intentloop_cli.training:jobs_app",
    "nlu": "intentloop_cli.training:nlu_app",
    "loop": "intentloop_cli.training:loop",
}

app = typer.Typer(
    cls=lazily(_ELSEWHERE),
    no_args_is_help=True,
    help="Turns chatbot traffic into training data and monitoring.",
    pretty_exceptions_show_locals=False,
)
topics_app = typer.Typer(no_args_is_help=True, help="Kafka topics.")
app.add_typer(topics_app, name="topics")

Folder = Annotated[Path, typer.Option(help="Where the local parts keep their data.")]


@app.command()
def worker(
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error")] = "info",
) -> None:
    """Read conversations from Kafka and store them until SIGTERM or Ctrl-C.

    In Postgres, or in JSON files without DATABASE_URL.
    """
    from intentloop_stream.configuration import Configuration
    from intentloop_stream.logs import configure_logs
    from intentloop_stream.worker import run_worker

    configuration = Configuration(
        kafka_settings(),
        read(DatabaseSettings),
        read(WorkerSettings),
        read(SpoolSettings),
        pii_settings(),
    )
    configure_logs(log_level, for_person=sys.stderr.isatty())
    run_worker(configuration, log_level)


@app.command()
def api(
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error")] = "info",
) -> None:
    """Serve the HTTP API until SIGTERM or Ctrl-C."""
    from intentloop_admin.server import run_api
    from intentloop_admin.services import Configuration
    from intentloop_sink.spool import SpoolError
    from intentloop_stream.logs import configure_logs

    configuration = Configuration(
        api=read(ApiSettings),
        database=read(DatabaseSettings),
        spool=read(SpoolSettings),
        kafka=read(KafkaSettings),
        worker=read(WorkerSettings),
        pii=pii_settings(),
    )
    configure_logs(log_level, for_person=sys.stderr.isatty())
    try:
        run_api(configuration)
    except SpoolError as error:
        fail(str(error), FAILURE)


@app.command()
def migrate() -> None:
    """Bring the database's tables to the version that this release needs."""
    from intentloop_sink import migrate as migrate_database

    try:
        version = migrate_database(database_settings().required_url())
    except (DatabaseUnavailableError, SchemaError) as error:
        fail(str(error), FAILURE)
    out.print(f"The database is at version {version}.")


@topics_app.command("create")
def create_topics(
    partitions: Annotated[int, typer.Option(min=1, help="How many workers can share it.")] = 4,
    replication: Annotated[int, typer.Option(min=1, help="Copies of each record.")] = 1,
) -> None:
    """Create the topics for conversations, dead letters and loggers' reports, unless they exist."""
    from confluent_kafka import KafkaException

    from intentloop_stream import topics

    name = read(WorkerSettings).topic
    try:
        created = topics.create_topics(
            kafka_settings(), name, partitions=partitions, replication=replication
        )
    except KafkaException as error:
        fail(f"Kafka did not create them: {error.args[0].str()}", FAILURE)
    for topic in created:
        out.print(f"Created {topic}.")
    if not created:
        out.print(f"{name} and the topics beside it exist already.")


@app.command()
def settings(
    *,
    markdown: Annotated[bool, typer.Option("--markdown", help="As docs/configuration.md.")] = False,
) -> None:
    """List every setting, its value now, and what it does; secrets stay hidden."""
    if markdown:
        sys.stdout.write(configuration.markdown())
    else:
        out.print(configuration.table([read(part) for part in configuration.PARTS]))


@app.command("doctor")
def diagnose(
    *,
    reconcile: Annotated[
        bool, typer.Option("--reconcile", help="Also whether every record is accounted for.")
    ] = False,
) -> None:
    """Check broker, topics, database, schema, lag and clock; say what is wrong and what to do."""
    from intentloop_cli import doctor

    kafka, database, settings = read(KafkaSettings), read(DatabaseSettings), read(WorkerSettings)
    findings = doctor.examine(kafka, database, settings)
    out.print(doctor.table(findings))
    can_look = all(finding.well for finding in findings if finding.what != "lag")
    adds_up = can_look and _reconcile(settings.topic) if reconcile else True
    if not adds_up or any(not finding.well for finding in findings):
        raise typer.Exit(FAILURE)


def _reconcile(topic: str) -> bool:
    from confluent_kafka import KafkaException

    from intentloop_cli import reconcile as reconciling

    url, folder = database_settings().required_url(), read(SpoolSettings).folder
    try:
        accounts = reconciling.reconcile(kafka_settings(), url, folder, topic)
    except KafkaException as error:
        fail(f"Kafka does not say what it has: {error.args[0].str()}", FAILURE)
    except DatabaseUnavailableError as error:
        fail(str(error), FAILURE)
    out.print(reconciling.table(accounts))
    problems = [(one, problem) for one in accounts for problem in one.problems]
    for one, problem in problems:
        out.print(f"{one.topic}, partition {one.partition}: {problem}.", highlight=False)
    return not problems


@app.command()
def replay(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what waits.")] = False,
) -> None:
    """Bring what waits in the fallback's files into the database; workers do so by themselves."""
    from intentloop_cli import replay as replaying
    from intentloop_sink import PostgresSink
    from intentloop_sink.spool import SpoolError

    folder = read(SpoolSettings).folder
    window_seconds = read(WorkerSettings).window_seconds
    sink = PostgresSink(
        database_settings().required_url(), window_seconds=window_seconds, writer="replay"
    )
    try:
        report = replaying.replay(folder, sink, dry_run=dry_run)
    except SpoolError as error:
        fail(str(error), FAILURE)
    out.print(replaying.table(report, folder) if report.writers else f"Nothing waits in {folder}.")
    if not dry_run and not report.is_complete:
        raise typer.Exit(FAILURE)


@app.command()
def demo(folder: Folder = Path("var")) -> None:
    """Send real events through Kafka, the worker and Postgres, and report what came of them."""
    from intentloop_demo.run import run_demo

    raise typer.Exit(run_demo(folder, os.environ, out))


@app.command()
def up(folder: Folder = Path("var")) -> None:
    """Run everything with live traffic, review and training until Ctrl-C."""
    from intentloop_demo.run import run_up

    raise typer.Exit(run_up(folder, os.environ, out, read(SimulationSettings)))
