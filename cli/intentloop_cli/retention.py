"""`intentloop retention`: how long datasets keep their examples."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated

import typer
from rich.table import Table

from intentloop_cli.environment import FAILURE, database_settings, fail, out
from intentloop_schemas.event import DATASET_PATTERN
from intentloop_sink import DatabaseUnavailableError, SchemaError, check_schema
from intentloop_sink.catalogue import PostgresCatalogue, SetRetention
from intentloop_sink.catalogue.retention import MAX_DAYS

app = typer.Typer(no_args_is_help=True, help="How long datasets keep their examples.")


@app.command("set")
def set_retention(
    dataset: Annotated[str, typer.Argument(help="Its id, ds-auto-training for example.")],
    *,
    days: Annotated[
        int | None, typer.Option(min=1, max=MAX_DAYS, help="For how long, by event time.")
    ] = None,
    forever: Annotated[bool, typer.Option("--forever", help="Remove nothing any more.")] = False,
) -> None:
    """Set for how long a dataset keeps examples; `apply` then removes what is older."""
    if not re.fullmatch(DATASET_PATTERN, dataset):
        raise typer.BadParameter(f"{dataset!r} is not 1 to 64 of a-z, 0-9 and -")
    if (days is None) != forever:
        raise typer.BadParameter("give either --days or --forever")
    with _catalogue() as catalogue:
        catalogue.apply(SetRetention(dataset_id=dataset, days=days))
    out.print(f"{dataset} keeps examples {_for(days)}. `intentloop retention apply` enforces it.")


@app.command()
def show() -> None:
    """Show for how long each dataset keeps examples, and what was removed."""
    with _catalogue() as catalogue, catalogue.reading() as answers:
        retentions = answers.retentions.all()
        datasets = answers.datasets.all()
    known = {each.dataset_id: each for each in retentions}
    table = Table("dataset", "keeps examples", "removed before", title="Retention")
    for dataset_id in sorted({*known, *(dataset.id for dataset in datasets)}):
        retention = known.get(dataset_id)
        horizon = retention.horizon if retention else None
        days = retention.days if retention else None
        table.add_row(dataset_id, _for(days), _minute(horizon))
    out.print(table)


@app.command()
def apply() -> None:
    """Remove examples that are older than their dataset keeps them; statistics stay."""
    from intentloop_sink.privacy import apply_retention

    url = database_settings().required_url()
    with _catalogue() as catalogue:
        for applied in apply_retention(url, catalogue):
            out.print(
                f"{applied.dataset_id}: {applied.examples} examples from before "
                f"{_minute(applied.horizon)} removed.",
                highlight=False,
            )


@contextmanager
def _catalogue() -> Iterator[PostgresCatalogue]:
    """Yield the database's catalogue; say in one line when it does not answer."""
    url = database_settings().required_url()
    try:
        check_schema(url)
        catalogue = PostgresCatalogue(url)
        yield catalogue
        catalogue.close()
    except (DatabaseUnavailableError, SchemaError) as error:
        fail(str(error), FAILURE)


def _for(days: int | None) -> str:
    if days is None:
        return "for ever"
    return f"for {days} day{'s' if days > 1 else ''}"


def _minute(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC" if time else "nothing"
