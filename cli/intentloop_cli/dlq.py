"""`intentloop dlq`: what was rejected, why, and what becomes of it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from confluent_kafka import KafkaException

from intentloop_cli import dlq_view
from intentloop_cli.environment import FAILURE, err, fail, kafka_settings, out, read
from intentloop_schemas import DeadLetter, DeadLetterReason
from intentloop_sink.spool import SpoolSettings
from intentloop_stream.letter_reader import (
    Found,
    TopicMissingError,
    Unreadable,
    first_copies,
    read_letters,
)
from intentloop_stream.letter_retry import RetryReport, retried_places, retry_letters
from intentloop_stream.quarantine import QUARANTINE, Quarantine, QuarantineError
from intentloop_stream.settings import WorkerSettings

_SHOWN_FAILURES = 20
_PRIVATE_FILE = 0o600
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

app = typer.Typer(no_args_is_help=True, help="Dead letters: records that were rejected.")

Reason = Annotated[
    DeadLetterReason | None, typer.Option(help="Only letters that were rejected for this reason.")
]
Since = Annotated[
    str | None,
    typer.Option(help="Only letters written since: 90s, 15m, 2h, 7d, or a time as in ISO 8601."),
]


@app.command("list")
def list_letters(
    *,
    reason: Reason = None,
    limit: Annotated[int, typer.Option(min=1, help="How many are shown; all are counted.")] = 20,
    since: Since = None,
    oldest_first: Annotated[
        bool, typer.Option("--oldest-first", help="Begin with the oldest, not the newest.")
    ] = False,
) -> None:
    """Show dead letters, newest first, and count them by reason."""
    with _failures():
        letters = _letters(reason=reason, since=since)
        overview = dlq_view.Overview(letters, limit=limit, oldest_first=oldest_first)
        if not overview.shown:
            out.print("There are no such dead letters.")
            return
        retried = retried_places(kafka_settings(), _topic())
    sys.stdout.write(f"{overview.table(retried)}\n\n{overview.summary()}\n")


@app.command()
def show(
    partition: Annotated[int, typer.Argument(min=0, help="Partition of the original record.")],
    offset: Annotated[int, typer.Argument(min=0, help="Offset of the original record.")],
    *,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Show senders and phone numbers in full.")
    ] = False,
) -> None:
    """Show all of one dead letter: why it was rejected, and its bytes."""
    letter = None
    with _failures():
        for found in _letters(partition=partition, offset=offset):
            letter = found.letter
    if letter is None:
        fail(
            f"There is no dead letter of partition {partition}, offset {offset}; "
            "`intentloop dlq list` shows what there is.",
            FAILURE,
        )
    is_whole = True
    try:
        letter = _quarantine().restore(letter)
    except QuarantineError as error:
        is_whole = False
        err.print(f"Only the beginning is here: {error}.", markup=False, soft_wrap=True)
    sys.stdout.write(dlq_view.description(letter, is_whole=is_whole, reveal=reveal) + "\n")


@app.command()
def retry(
    *,
    reason: Reason = None,
    partition: Annotated[int | None, typer.Option(min=0, help="Only this partition.")] = None,
    offset: Annotated[
        int | None, typer.Option(min=0, help="Only this offset of the partition.")
    ] = None,
    since: Since = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count what would be sent.")
    ] = False,
) -> None:
    """Send the original records to their topic again, each letter once, however often this runs."""
    if offset is not None and partition is None:
        raise typer.BadParameter("--offset needs --partition")
    with _failures():
        report = retry_letters(
            kafka_settings(),
            _topic(),
            _originals(_letters(reason=reason, since=since, partition=partition, offset=offset)),
            _quarantine(),
            dry_run=dry_run,
        )
    _tell(report, dry_run=dry_run)
    if report.failed:
        raise typer.Exit(FAILURE)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="File to write; it must not exist yet.")],
    *,
    reason: Reason = None,
    since: Since = None,
) -> None:
    """Write dead letters to a file, one JSON object a line, with their bytes and senders."""
    if file.exists():
        fail(f"{file} exists already; choose another name.", FAILURE)
    unfinished = file.with_name(f"{file.name}.part")
    with _failures():
        written, cut = _export(unfinished, _letters(reason=reason, since=since))
        unfinished.replace(file)
    out.print(f"Dead letters in {file}: {written}.", markup=False, soft_wrap=True)
    if cut:
        fail(
            f"{cut} of them are truncated, because their quarantine files are not on this machine: "
            "run this where FALLBACK_DIR is the one of the worker that rejected them.",
            FAILURE,
        )


def _export(file: Path, letters: Iterator[Found]) -> tuple[int, int]:
    """Write letters; return how many, and how many of them are truncated."""
    quarantine = _quarantine()
    written = cut = 0
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE_FILE)
    with os.fdopen(descriptor, "wb") as stream:
        for letter in _originals(letters):
            try:
                whole = quarantine.restore(letter)
            except QuarantineError:
                whole, cut = letter, cut + 1
            else:
                whole = whole.model_copy(update={"truncated": None, "quarantine": None})
            stream.write(whole.to_json() + b"\n")
            written += 1
    return written, cut


def _letters(
    *,
    reason: DeadLetterReason | None = None,
    since: str | None = None,
    partition: int | None = None,
    offset: int | None = None,
) -> Iterator[Found]:
    """Yield the letters asked for, each once; tell of records that are none."""
    items = read_letters(kafka_settings(), _topic(), since=_epoch_ms(since))
    for found in first_copies(_tell_unreadable(items)):
        letter = found.letter
        if (
            reason in (None, letter.reason)
            and partition in (None, letter.partition)
            and offset in (None, letter.offset)
        ):
            yield found


def _tell_unreadable(items: Iterator[Found | Unreadable]) -> Iterator[Found | Unreadable]:
    for item in items:
        if isinstance(item, Unreadable):
            err.print(
                f"Partition {item.partition}, offset {item.offset} of the dead-letter topic is no "
                f"dead letter: {item.error}",
                markup=False,
                soft_wrap=True,
            )
        yield item


def _originals(letters: Iterator[Found]) -> Iterator[DeadLetter]:
    return (found.letter for found in letters)


def _tell(report: RetryReport, *, dry_run: bool) -> None:
    sent = ", ".join(f"{reason} {count}" for reason, count in report.sent.most_common())
    verb = "would be sent again" if dry_run else "sent again"
    out.print(f"{report.sent.total()} {verb}{f': {sent}' if sent else ''}.")
    if report.retried_before:
        out.print(f"{report.retried_before} retried before.")
    for place, error in report.failed[:_SHOWN_FAILURES]:
        says = f"Partition {place.partition}, offset {place.offset}: {error}"
        err.print(dlq_view.printable(says), style="red", markup=False, soft_wrap=True)
    if len(report.failed) > _SHOWN_FAILURES:
        err.print(f"{len(report.failed)} letters failed.", style="red")
    if report.is_cut_short:
        err.print("Kafka went away; run this again for the rest.", style="red")


def _topic() -> str:
    return read(WorkerSettings).topic


def _quarantine() -> Quarantine:
    return Quarantine(read(SpoolSettings).folder / QUARANTINE)


def _epoch_ms(since: str | None) -> int | None:
    """Read an age or a time; a wrong one ends the command with status 2."""
    if since is None:
        return None
    if age := re.fullmatch(r"(\d{1,6})([smhd])", since):
        length = timedelta(**{_UNITS[age[2]]: int(age[1])})
        return round((datetime.now(UTC) - length).timestamp() * 1000)
    try:
        time = datetime.fromisoformat(since)
    except ValueError:
        raise typer.BadParameter(f"--since {since}: give 15m, 2h, 7d or 2026-11-23T08:00") from None
    return round(time.replace(tzinfo=time.tzinfo or UTC).timestamp() * 1000)


@contextmanager
def _failures() -> Iterator[None]:
    """Say in one line what Kafka or the disk did not do, and end with status 1."""
    try:
        yield
    except TopicMissingError as error:
        fail(str(error), FAILURE)
    except KafkaException as error:
        fail(f"Kafka did not do it: {error.args[0].str()}", FAILURE)
    except OSError as error:
        fail(f"Not written: {error}", FAILURE)
