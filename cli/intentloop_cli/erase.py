"""`intentloop erase`: a person's words, everywhere that this machine reaches."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Annotated

import typer
from rich.table import Table

from intentloop_admin.erasure import ErasureReport, Whereabouts, stored_forms
from intentloop_admin.erasure import erase as erase_everywhere
from intentloop_cli.environment import FAILURE, database_settings, fail, out, read
from intentloop_producer import LoggerSettings
from intentloop_schemas.event import MAX_SENDER
from intentloop_schemas.kafka import KafkaSettings
from intentloop_schemas.pii_settings import PiiSettings
from intentloop_sink import DatabaseUnavailableError, SchemaError, check_schema
from intentloop_sink.spool import SpoolSettings
from intentloop_stream.settings import WorkerSettings

_STANDARD_INPUT = "-"


def erase(
    sender: Annotated[
        list[str],
        typer.Option(
            help="As it is stored, a phone number for example; may be repeated. "
            "With - they are read from standard input, one a line."
        ),
    ],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only look, and tell.")] = False,
) -> None:
    """Erase all that a sender wrote, so that no replay and no retry brings it back."""
    where = Whereabouts(
        database_url=database_settings().required_url(),
        fallback=read(SpoolSettings).folder,
        journals=read(LoggerSettings).journal_dir,
        kafka=read(KafkaSettings),
        topic=read(WorkerSettings).topic,
    )
    senders = stored_forms(_given(sender), read(PiiSettings))
    try:
        check_schema(where.database_url)
        report = erase_everywhere(where, senders, dry_run=dry_run)
    except (DatabaseUnavailableError, SchemaError) as error:
        fail(f"Nothing was erased: {error}", FAILURE)
    out.print(_table(report))
    for line in report.remains:
        out.print(line, markup=False, soft_wrap=True)
    if not report.is_complete:
        fail("Not everywhere: mend what the table says, and run this again.", FAILURE)


def _given(options: Iterable[str]) -> list[str]:
    senders: list[str] = []
    for option in options:
        lines = sys.stdin.read().splitlines() if option == _STANDARD_INPUT else [option]
        senders += [line.strip() for line in lines if line.strip()]
    if not senders or max(map(len, senders)) > MAX_SENDER:
        raise typer.BadParameter(f"give senders of 1 to {MAX_SENDER} characters each")
    return senders


def _table(report: ErasureReport) -> Table:
    state = "Erased" if report.erased_at else "Found, nothing erased"
    table = Table("place", "found", "erased", "note", title=state)
    for place in report.places:
        note = f"[red]failed[/]: {place.note}" if place.failed else place.note
        table.add_row(place.name, str(place.found), str(place.erased), note)
    return table
