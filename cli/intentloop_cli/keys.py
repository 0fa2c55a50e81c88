"""`intentloop keys`: who may use the API."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar

import typer
from rich.table import Table

from intentloop_admin.security.key_store import FileKeys, KeyStore, TableKeys
from intentloop_admin.security.keys import create_key
from intentloop_admin.security.scopes import Scope
from intentloop_cli.environment import FAILURE, err, fail, out, read
from intentloop_schemas.event import DATASET_PATTERN
from intentloop_sink import DatabaseSettings, DatabaseUnavailableError, SchemaError, check_schema
from intentloop_sink.catalogue import PostgresCatalogue, StoredKey
from intentloop_sink.spool import SpoolSettings

T = TypeVar("T")

_LIFETIME = re.compile(r"([1-9]\d{0,4})d")

app = typer.Typer(no_args_is_help=True, help="Keys of the HTTP API.")


@app.command()
def create(
    name: Annotated[str, typer.Option(help="Who it is for.")],
    scope: Annotated[list[Scope], typer.Option(help="What it may do; may be repeated.")],
    *,
    dataset: Annotated[
        list[str] | None, typer.Option(help="Only this dataset; may be repeated.")
    ] = None,
    expires: Annotated[str | None, typer.Option(help="When it ends, in days: 90d.")] = None,
    rate: Annotated[
        int | None, typer.Option(min=1, help="Requests a minute, instead of the usual limit.")
    ] = None,
) -> None:
    """Make a key and print it, alone on standard output. It is shown this once."""
    for dataset_id in dataset or ():
        if not re.fullmatch(DATASET_PATTERN, dataset_id):
            raise typer.BadParameter(f"{dataset_id!r} is not 1 to 64 of a-z, 0-9 and -")
    now = datetime.now(UTC)
    text, stored = create_key(
        name,
        scope,
        now=now,
        datasets=dataset or None,
        requests_per_minute=rate,
        expires_at=None if expires is None else now + _lifetime(expires),
    )
    _with_store(lambda store: store.add(stored))
    err.print(f"Key {stored.id} for {name}. Keep it safe: it cannot be shown again.", markup=False)
    sys.stdout.write(f"{text}\n")


@app.command("list")
def list_keys() -> None:
    """List keys: who they are for, what they may do, when they were used last."""
    keys = _with_store(lambda store: store.all())
    if not keys:
        out.print("There are no keys; `intentloop keys create` makes one.")
        return
    table = Table("id", "name", "scopes", "datasets", "last used", "state", title="Keys")
    now = datetime.now(UTC)
    for key in keys:
        table.add_row(
            key.id,
            key.name,
            " ".join(key.scopes),
            "all" if key.datasets is None else " ".join(key.datasets),
            "never" if key.last_used_at is None else _day(key.last_used_at),
            _state(key, now),
        )
    out.print(table)


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="As `list` shows it.")]) -> None:
    """End a key. Running APIs refuse it within 2 s."""
    if not _with_store(lambda store: store.revoke(key_id)):
        fail(f"There is no key {key_id}; `intentloop keys list` shows what there is.", FAILURE)
    out.print(f"Revoked {key_id}.")


def _with_store(use: Callable[[KeyStore], T]) -> T:
    url = read(DatabaseSettings).database_url
    try:
        if url is None:
            return use(FileKeys(read(SpoolSettings).folder))
        check_schema(url.get_secret_value())
        return use(TableKeys(PostgresCatalogue(url.get_secret_value())))
    except (DatabaseUnavailableError, SchemaError, OSError) as error:
        fail(str(error), FAILURE)


def _lifetime(text: str) -> timedelta:
    days = _LIFETIME.fullmatch(text)
    if days is None:
        raise typer.BadParameter(f"{text!r} is not a number of days such as 90d")
    return timedelta(days=int(days[1]))


def _state(key: StoredKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return f"revoked {_day(key.revoked_at)}"
    if key.expires_at is None:
        return "valid"
    return f"{'expired' if key.expires_at <= now else 'valid until'} {_day(key.expires_at)}"


def _day(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
