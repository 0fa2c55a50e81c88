"""`intentloop trace`: where an event is, and when each step happened."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple

import typer
from confluent_kafka import KafkaException
from rich.table import Table

from intentloop_cli.environment import FAILURE, fail, out, read
from intentloop_schemas.event import DEFAULT_DATASET
from intentloop_schemas.kafka import KafkaSettings
from intentloop_schemas.masking import masked_text
from intentloop_sink import DatabaseSettings, DatabaseUnavailableError
from intentloop_sink.catalogue import Example
from intentloop_sink.catalogue.examples import REJECTED, REVIEWED
from intentloop_sink.connection import session
from intentloop_sink.encoding import NEEDS_REVIEW
from intentloop_sink.insights.whereabouts import StoredBatch, Whereabouts, spooled
from intentloop_sink.spool import SpoolSettings
from intentloop_stream.event_search import EventSearch, LogPlace
from intentloop_stream.letter_reader import Found, TopicMissingError
from intentloop_stream.settings import WorkerSettings
from intentloop_stream.topics import topic_ids

_DAYS = 7
_SLACK = timedelta(minutes=10)
"""Clocks differ, and a phone without a connection sends later."""
_UUID_WITH_TIME = 7


class Step(NamedTuple):
    """Something that happened to the event; `at` is None when nobody noted when."""

    at: datetime | None
    what: str
    detail: str


def trace(
    event_id: Annotated[str, typer.Argument(help="As in the event, or as in the example.")],
    *,
    dataset: Annotated[str, typer.Option(help="The dataset it was sent for.")] = DEFAULT_DATASET,
    days: Annotated[
        int, typer.Option(min=1, max=3_650, help="How far back to look for it.")
    ] = _DAYS,
) -> None:
    """Say where an event is: in Kafka, in the store, in files, or rejected; and since when."""
    since = _earliest(event_id, days)
    try:
        steps = [*_in_store(event_id, dataset, since), *_in_files(event_id)]
        steps += _in_kafka(event_id, since)
    except DatabaseUnavailableError as error:
        fail(f"{error}: check DATABASE_URL and the server", FAILURE)
    except KafkaException as error:
        fail(f"Kafka did not answer: {error.args[0].str()}", FAILURE)
    if not steps:
        fail(
            f"Nobody here knows {event_id} in {dataset} in the last {days} days. Look further back "
            "with --days, in another --dataset, or in the journal of the bot that logged it.",
            FAILURE,
        )
    out.print(_table(event_id, steps))
    out.print(_conclusion(steps), markup=False)


def _earliest(event_id: str, days: int) -> datetime:
    """Return when to begin: a UUIDv7 says itself when it was made."""
    begin = datetime.now(UTC) - timedelta(days=days)
    try:
        parsed = uuid.UUID(event_id)
    except ValueError:
        return begin
    if parsed.version != _UUID_WITH_TIME:
        return begin
    made = datetime.fromtimestamp((parsed.int >> 80) / 1000, UTC)
    return made - _SLACK


def _in_store(event_id: str, dataset: str, since: datetime) -> Iterator[Step]:
    url = read(DatabaseSettings).database_url
    if url is None:
        return
    until = datetime.now(UTC) + _SLACK
    with session(url.get_secret_value(), "trace") as connection:
        whereabouts = Whereabouts(connection)
        example = whereabouts.example(dataset, event_id, since, until)
        if example is None:
            return
        yield Step(example.created_at, "written", f"by the customer, on {example.channel}")
        yield Step(None, "stored", _example(example))
        for decision in whereabouts.decisions(example.id):
            detail = f"{decision.verdict} {decision.intent or ''}, by key {decision.reviewer}"
            yield Step(decision.decided_at, "decided", detail)
            if decision.undone_at is not None:
                yield Step(decision.undone_at, "undone", f"by key {decision.reviewer}")


def _example(example: Example) -> str:
    labels = example.predicted_intent
    if example.intent != example.predicted_intent:
        labels = f"{example.intent}, predicted {example.predicted_intent}"
    states = [tag for tag in (NEEDS_REVIEW, REVIEWED, REJECTED) if tag in example.tags]
    return f"as {example.id}: {labels}, {example.confidence:.1%}{', '.join(['', *states])}"


def _in_files(event_id: str) -> Iterator[Step]:
    for found in spooled(read(SpoolSettings).folder, event_id):
        opened = datetime.fromtimestamp(found.batch.opened_at / 1000, UTC)
        yield Step(opened, "waiting in a file", f"{found.file}: the database was away")


def _in_kafka(event_id: str, since: datetime) -> Iterator[Step]:
    kafka, topic = read(KafkaSettings), read(WorkerSettings).topic
    if kafka.bootstrap_servers is None:
        return
    search = EventSearch(kafka, topic, event_id, round(since.timestamp() * 1000))
    try:
        for place in search.records():
            yield from _record(kafka, topic, place)
        yield from map(_letter, search.letters())
    except TopicMissingError:
        return


def _record(kafka: KafkaSettings, topic: str, place: LogPlace) -> Iterator[Step]:
    where = f"partition {place.partition}, offset {place.offset}"
    yield Step(_time(place.timestamp), "in Kafka", f"{topic}, {where}")
    batch = _batch(kafka, topic, place)
    if batch is None:
        yield Step(None, "not read yet", f"{where} is not accounted for: is a worker running?")
        return
    count = batch.next_position - batch.first_position
    detail = f"{count} positions, closed by {batch.closed_by}, by {batch.writer}"
    yield Step(batch.opened_at, "batch opened", detail)
    yield Step(batch.committed_at, "batch committed", f"by {batch.writer}")


def _batch(kafka: KafkaSettings, topic: str, place: LogPlace) -> StoredBatch | None:
    url = read(DatabaseSettings).database_url
    if url is None:
        return None
    topic_id = topic_ids(kafka, [topic])[topic]
    with session(url.get_secret_value(), "trace") as connection:
        return Whereabouts(connection).batch(topic_id, place.partition, place.offset)


def _letter(found: Found) -> Step:
    letter = found.letter
    sender = (letter.key or b"").decode(errors="replace")
    detail = f"{letter.reason}: {masked_text(letter.error, [sender])}"
    return Step(_time(found.written_at), "dead letter", detail)


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _table(event_id: str, steps: list[Step]) -> Table:
    table = Table("when (UTC)", "what", "detail", title=event_id)
    dated = [step for step in steps if step.at is not None]
    for at, what, detail in sorted(dated, key=lambda step: (step.at, step.what)):
        table.add_row(at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] if at else "", what, detail)
    for step in steps:
        if step.at is None:
            table.add_row("", step.what, step.detail)
    return table


def _conclusion(steps: list[Step]) -> str:
    happened = {step.what for step in steps}
    if "stored" in happened:
        return "It is stored."
    if "waiting in a file" in happened:
        return "It waits in a file; it follows by itself, or with `intentloop replay`."
    if "dead letter" in happened:
        return "It was rejected; `intentloop dlq` shows it and can send it again."
    return "It is in Kafka and not stored yet."
