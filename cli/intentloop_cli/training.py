"""`intentloop jobs`, `intentloop nlu` and `intentloop loop`: training, serving, and the loop."""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import typer
from rich.table import Table

from intentloop_cli.environment import FAILURE, err, fail, out, read
from intentloop_producer import ConversationLogger
from intentloop_schemas.event import DEFAULT_DATASET
from intentloop_schemas.failpoint import FailpointSettings, from_setting
from intentloop_sink import DatabaseSettings, DatabaseUnavailableError, SchemaError, check_schema
from intentloop_sink.spool import SpoolSettings

if TYPE_CHECKING:
    from intentloop_training.examples import Examples
    from intentloop_training.jobs import Job, Jobs
    from intentloop_training.registry import ModelRegistry
    from intentloop_training.settings import TrainingSettings

_FLUSH_SECONDS = 10.0

jobs_app = typer.Typer(
    invoke_without_command=True, help="Training jobs; without a command, run them."
)
nlu_app = typer.Typer(no_args_is_help=True, help="Models, and the server that answers bots.")

Dataset = Annotated[str, typer.Option(help="The dataset.")]
JobId = Annotated[str, typer.Argument(help="The job's id.")]


@jobs_app.callback()
def run_jobs(context: typer.Context) -> None:
    """Run training jobs until SIGTERM or Ctrl-C; several runners share them."""
    if context.invoked_subcommand is not None:
        return
    from intentloop_training.jobs.nlu_train import NluTraining
    from intentloop_training.jobs.runner import Runner

    settings, url = _training_settings(), _database_url()
    _log_to_stderr()
    failpoint = from_setting(read(FailpointSettings).failpoint)
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    name = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}"
    work = NluTraining(_examples(settings, url), settings.models_dir, settings.recipe, failpoint)
    err.print(f"Running jobs of {'the database' if url else settings.jobs_dir} as {name}.")
    Runner(_jobs().store, work, name, settings.pace, stop, failpoint).run()


@jobs_app.command("create")
def create_job(dataset: Dataset = DEFAULT_DATASET) -> None:
    """Add a job that trains a model on a dataset."""
    from intentloop_training.jobs import JobKind

    job = _jobs().create(JobKind.NLU_TRAIN, dataset)
    out.print(f"{job.id} waits for a runner: `intentloop jobs`.")


@jobs_app.command("list")
def list_jobs(
    dataset: Annotated[str | None, typer.Option(help="Only jobs of this dataset.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
) -> None:
    """Show jobs, the newest first."""
    table = Table("id", "dataset", "status", "done", "left", "model", "reason")
    for job in _jobs().newest(dataset, limit):
        left = "" if job.seconds_left is None else f"{job.seconds_left:.0f} s"
        table.add_row(
            job.id,
            job.dataset_id,
            job.status,
            f"{job.progress:.0%}",
            left,
            "" if job.promoted is None else "promoted" if job.promoted else "stored",
            job.reason or "",
        )
    out.print(table)


@jobs_app.command("show")
def show_job(job_id: JobId) -> None:
    """Show a job as JSON, its log too."""
    job = _asked(lambda jobs: jobs.get(job_id))
    out.print_json(job.model_dump_json(by_alias=True))


@jobs_app.command("cancel")
def cancel_job(job_id: JobId) -> None:
    """Cancel a job; a running one ends at its next step."""
    job = _asked(lambda jobs: jobs.cancel(job_id))
    out.print(f"{job.id} is {job.status}{', and ends soon' if job.cancel_requested else ''}.")


@jobs_app.command("retry")
def retry_job(job_id: JobId) -> None:
    """Add a job that does what a failed or cancelled one did not."""
    out.print(f"{_asked(lambda jobs: jobs.retry(job_id)).id} waits for a runner.")


@nlu_app.command("serve")
def serve() -> None:
    """Answer bots over Rasa's HTTP API with the current model, until SIGTERM or Ctrl-C."""
    import uvicorn

    from intentloop_training.registry import ModelRegistry
    from intentloop_training.serving.current import CurrentModel
    from intentloop_training.serving.server import create_app
    from intentloop_training.settings import NluSettings

    settings = read(NluSettings)
    _log_to_stderr()
    registry = ModelRegistry(_training_settings().models_dir, settings.dataset)
    current = CurrentModel(registry, settings.reload_seconds)
    uvicorn.run(
        create_app(current),
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_level="warning",
    )


@nlu_app.command("test")
def send_test_messages(
    url: Annotated[
        str | None, typer.Option(help="The NLU; where `nlu serve` listens when not given.")
    ] = None,
) -> None:
    """Send test messages through the NLU and log them; they appear in the dataset."""
    from intentloop_training.serving import script
    from intentloop_training.settings import NluSettings

    settings = read(NluSettings)
    address = url or f"http://{settings.host}:{settings.port}"
    _log_to_stderr()
    table = Table("message", "intent", "confidence", "model", title=address)
    with ConversationLogger() as logger:
        try:
            for answer in script.run(address, logger, script.MESSAGES):
                table.add_row(
                    answer.text,
                    answer.intent,
                    f"{answer.confidence:.0%}",
                    answer.model_version or "",
                )
        except script.NluUnavailableError as error:
            fail(f"{error}. Start one with `intentloop nlu serve`.", FAILURE)
        logger.flush(_FLUSH_SECONDS)
        counts = logger.counts
    out.print(table)
    out.print(f"Logged {counts.delivered} of {len(script.MESSAGES)} messages.")
    if counts.delivered < len(script.MESSAGES):
        fail(f"The rest was not delivered: {counts}", FAILURE)


@nlu_app.command("models")
def models(dataset: Dataset = DEFAULT_DATASET) -> None:
    """Show the models of a dataset, the newest first."""
    from intentloop_training.card import ModelCard

    registry = _registry(dataset)
    current = registry.promotions().current
    table = Table("", "version", "accuracy", "flags", "verdict", title=f"Models of {dataset}")
    for version in registry.versions():
        card = ModelCard.load(registry.folder_of(version))
        table.add_row(
            "current" if version == current else "",
            version,
            f"{card.evaluation.accuracy.value:.1%} of {card.evaluation.size}",
            f"{card.review_rate.value:.1%}",
            "passed" if card.verdict.passed else "; ".join(card.verdict.reasons),
        )
    out.print(table)
    out.print(f"Cards: {registry.folder_of('VERSION')}/card.html")


@nlu_app.command("rollback")
def rollback(dataset: Dataset = DEFAULT_DATASET) -> None:
    """Let the model before the current one answer again."""
    from intentloop_training.registry import NoModelError

    try:
        version = _registry(dataset).roll_back()
    except NoModelError as error:
        fail(f"{dataset}: {error}", FAILURE)
    out.print(f"{version} answers again.")


@nlu_app.command("promote")
def promote(
    version: Annotated[str, typer.Argument(help="A version that `nlu models` shows.")],
    dataset: Dataset = DEFAULT_DATASET,
) -> None:
    """Let a model answer, whatever the gate said of it."""
    from intentloop_training.registry import NoModelError

    try:
        _registry(dataset).promote(version)
    except NoModelError as error:
        fail(f"{dataset}: {error}", FAILURE)
    out.print(f"{version} answers.")


def loop(
    rounds: Annotated[int, typer.Option(min=1, help="How often to review and retrain.")] = 5,
    seed: Annotated[int, typer.Option(help="Another seed, other customers.")] = 1,
) -> None:
    """Show the loop at work: traffic, simulated review, retraining, promotion, and the curve."""
    from intentloop_demo.loop import Loop, table

    done = []
    with tempfile.TemporaryDirectory(prefix="intentloop-loop-") as folder:
        for one in Loop(Path(folder), seed, _training_settings().recipe).run(rounds):
            done.append(one)
            err.print(f"round {one.number}: {one.accuracy.value:.1%} right, {one.verdict}")
    out.print(table(done))


def _asked(question: Callable[[Jobs], Job]) -> Job:
    from intentloop_training.jobs import JobStateError, UnknownJobError

    try:
        return question(_jobs())
    except (UnknownJobError, JobStateError) as error:
        fail(str(error), FAILURE)


def _examples(settings: TrainingSettings, url: str | None) -> Examples:
    from intentloop_training.sources import FileExamples, SeededExamples

    dataset = _dataset(settings, url)
    if settings.seeds_dir is None:
        return dataset
    return SeededExamples(dataset, FileExamples(settings.seeds_dir))


def _dataset(settings: TrainingSettings, url: str | None) -> Examples:
    from intentloop_training.sources import CatalogueExamples, FileExamples, PostgresExamples

    if url:
        return PostgresExamples(url)
    if settings.datasets_dir:
        return FileExamples(settings.datasets_dir)
    return CatalogueExamples(read(SpoolSettings).folder)


def _jobs() -> Jobs:
    from intentloop_training.jobs import open_jobs

    url = _database_url()
    if url:
        try:
            check_schema(url)
        except (DatabaseUnavailableError, SchemaError) as error:
            fail(str(error), FAILURE)
    return open_jobs(url, _training_settings().jobs_dir)


def _registry(dataset: str) -> ModelRegistry:
    from intentloop_training.registry import ModelRegistry

    return ModelRegistry(_training_settings().models_dir, dataset)


def _training_settings() -> TrainingSettings:
    from intentloop_training.settings import TrainingSettings

    return read(TrainingSettings)


def _database_url() -> str | None:
    database = read(DatabaseSettings)
    return None if database.database_url is None else database.required_url()


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
