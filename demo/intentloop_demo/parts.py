"""The parts of a run: Kafka, Postgres with its tables, topics, a trained NLU, and a worker."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException

from intentloop_demo.nlu import IntentClassifier
from intentloop_demo.seeds import write_seeds
from intentloop_demo.services import Services, running_services
from intentloop_demo.utterances import Utterance, load_utterances, split
from intentloop_devstack import (
    KafkaServer,
    PostgresServer,
    UnavailableError,
    local_kafka,
    local_postgres,
)
from intentloop_devstack.claim import claim
from intentloop_devstack.process import ServerProcess
from intentloop_schemas import CONVERSATIONS_TOPIC
from intentloop_schemas.kafka import KafkaSettings
from intentloop_sink import migrate
from intentloop_stream.topics import create_topics, quiet_admin, topic_ids

PARTITIONS = 4
BATCH_SECONDS = "2"
"""Unless the environment says otherwise: nobody wants to watch the last batches wait for 30 s."""
_ANSWER_SECONDS = 5.0

Say = Callable[[str, str], None]
"""Takes the name of a part and a line about it."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of one run, and how to reach it."""

    name: str
    id: str
    kafka: KafkaSettings


@dataclass(frozen=True, slots=True)
class Understanding:
    """A trained NLU, what it was taught, and the utterances that it has not seen."""

    classifier: IntentClassifier
    taught: list[Utterance]
    unseen: list[Utterance]


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that a run needs, running."""

    kafka: KafkaServer
    postgres: PostgresServer
    topic: Topic
    understanding: Understanding
    worker: ServerProcess
    services: Services | None


@contextmanager
def running_parts(
    folder: Path, environ: Mapping[str, str], run: str, *, fresh: bool, serve: bool, say: Say
) -> Iterator[Parts]:
    """Start everything, and stop what was started at the end. Blocks for about six seconds.

    Args:
        folder: what is started keeps its data and logs in it.
        environ: the whole environment; Kafka and Postgres named there are used, not started.
        run: names the topic and group of this run on a Kafka that is shared with others.
        fresh: begin with empty tables, unless Postgres is given.
        serve: run the HTTP API, training jobs and the server of their models, too.
        say: told of each part that is ready.

    Raises:
        UnavailableError: Kafka or Postgres cannot be started, or the given Kafka does not answer.
        confluent_kafka.KafkaException: Kafka refuses the topics.
        intentloop_sink.DatabaseUnavailableError: the given Postgres does not answer.
        intentloop_sink.SchemaError: its tables were made by a later release.
    """
    with ExitStack() as stack, ThreadPoolExecutor(3) as pool:
        brokers = pool.submit(_kafka, stack, folder, environ, run)
        tables = pool.submit(_postgres, stack, folder, environ, fresh=fresh)
        lessons = pool.submit(_train)
        (kafka, topic), postgres = brokers.result(), tables.result()
        say("Kafka", kafka.description)
        say("Postgres", postgres.description)
        environment = {
            **_defaults(folder),
            **environ,
            **_variables(kafka, postgres, topic, run),
        }
        worker = _started_worker(stack, folder, environment)
        say("Worker", f"{PARTITIONS} partitions of {topic.name}, log in {worker.log}")
        known = lessons.result()
        say("Bot", f"taught {len(known.taught)} utterances, {len(known.unseen)} unseen")
        services = None
        if serve:
            write_seeds(Path(environment["INTENTLOOP_SEEDS_DIR"]), known.taught)
            services = stack.enter_context(running_services(folder, environment, pool))
            _say_how_to_ask(services, say)
        yield Parts(kafka, postgres, topic, known, worker, services)


def _defaults(folder: Path) -> dict[str, str]:
    return {
        "BATCH_SECONDS": BATCH_SECONDS,
        "FALLBACK_DIR": str(folder / "fallback"),
        "INTENTLOOP_MODELS_DIR": str(folder / "models"),
        "INTENTLOOP_SEEDS_DIR": str(folder / "seeds"),
    }


def _started_worker(
    stack: ExitStack, folder: Path, environment: Mapping[str, str]
) -> ServerProcess:
    worker = ServerProcess(
        name="The worker",
        command=[sys.executable, "-m", "intentloop_cli", "worker"],
        claim=stack.enter_context(claim(folder.absolute(), "worker")),
        # It needs no client: records wait for it in Kafka.
        ready=lambda: True,
        environ=environment,
    )
    stack.callback(worker.stop)
    worker.start()
    return worker


def _say_how_to_ask(services: Services, say: Say) -> None:
    api, nlu = services.api, services.nlu
    say("NLU", f"{nlu.url} serves what training makes, log in {nlu.log}")
    say("Jobs", f"train models, log in {services.jobs}")
    say("API", f"{api.url}, to look at, or to read and try at /docs; log in {api.log}")
    say("", f"export ADMIN_BACKEND_URL={api.url}")
    say("", f"export KEY={api.key}")


def _kafka(
    stack: ExitStack, folder: Path, environ: Mapping[str, str], run: str
) -> tuple[KafkaServer, Topic]:
    server = stack.enter_context(local_kafka(folder, environ=environ, fresh=True))
    # Somebody else may read and write the usual topic of a given Kafka.
    name = f"intentloop.demo.{run}" if server.kind == "given" else CONVERSATIONS_TOPIC
    settings = KafkaSettings(bootstrap_servers=server.bootstrap_servers)
    _require_answer(settings)
    create_topics(settings, name, partitions=PARTITIONS)
    return server, Topic(name, topic_ids(settings, [name])[name], settings)


def _require_answer(settings: KafkaSettings) -> None:
    """Raise UnavailableError soon and in plain words when nothing answers."""
    try:
        quiet_admin(settings).list_topics(timeout=_ANSWER_SECONDS)
    except KafkaException as error:
        raise UnavailableError(
            f"no Kafka answers at {settings.bootstrap_servers} within {_ANSWER_SECONDS:.0f} s: "
            "start it, or unset KAFKA_BOOTSTRAP_SERVERS to have one started here"
        ) from error


def _postgres(
    stack: ExitStack, folder: Path, environ: Mapping[str, str], *, fresh: bool
) -> PostgresServer:
    server = stack.enter_context(local_postgres(folder, environ=environ, fresh=fresh))
    migrate(server.url)
    return server


def _train() -> Understanding:
    taught, unseen = split(load_utterances())
    return Understanding(IntentClassifier.train(taught), taught, unseen)


def _variables(
    kafka: KafkaServer, postgres: PostgresServer, topic: Topic, run: str
) -> dict[str, str]:
    return {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "DATABASE_URL": postgres.url,
        "INTENTLOOP_TOPIC": topic.name,
        "INTENTLOOP_GROUP": f"intentloop-demo-{run}",
    }
