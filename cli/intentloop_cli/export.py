"""`intentloop export`: a dataset as files that other tools read."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from intentloop_cli.environment import FAILURE, err, fail, out, read
from intentloop_sink import DatabaseSettings, DatabaseUnavailableError, SchemaError, check_schema
from intentloop_sink.catalogue import (
    Catalogue,
    ExampleFilter,
    FileCatalogue,
    PostgresCatalogue,
    SlowQueryError,
)
from intentloop_sink.export import (
    ExampleSource,
    Export,
    Format,
    MissingExtraError,
    PagedSource,
    Selection,
    Side,
    SnapshotSource,
    Tally,
)
from intentloop_sink.export.row import DEFAULT_TEST_SHARE
from intentloop_sink.spool import SpoolSettings
from intentloop_stream.settings import WorkerSettings

_PRIVATE_FILE = 0o600
_PROVENANCE = ".provenance.json"
_FAILURES = (DatabaseUnavailableError, SchemaError, SlowQueryError, MissingExtraError)


def export(
    dataset: Annotated[str, typer.Argument(help="Its id, ds-auto-training for example.")],
    *,
    kind: Annotated[Format, typer.Option("--format", help="How it is written.")] = Format.JSONL,
    output: Annotated[
        str | None,
        typer.Option(
            help="File to write, which must not exist yet. With / at its end a folder, which gets "
            "one file to train and one to test with. Without it: standard output."
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Only examples with: tag, intent, predictedIntent, q, minConfidence, "
            "maxConfidence, channel, modelVersion, since or until. May be repeated.",
        ),
    ] = None,
    split: Annotated[Side | None, typer.Option(help="Only the examples of this side.")] = None,
    test_share: Annotated[
        float, typer.Option(min=0, max=1, help="About how many texts are to test with.")
    ] = DEFAULT_TEST_SHARE,
    with_senders: Annotated[
        bool, typer.Option("--with-senders", help="Do not mask senders.")
    ] = False,
) -> None:
    """Write a dataset for training, for labelling or for a spreadsheet."""
    selection = Selection(dataset, _filter(where or ()), split, test_share, with_senders)
    try:
        with _source(dataset) as source:
            _write(Export(selection, kind, source), output)
    except _FAILURES as error:
        fail(str(error), FAILURE)
    except OSError as error:
        fail(f"Not written: {error}", FAILURE)


def _filter(conditions: Iterable[str]) -> ExampleFilter:
    fields = dict(condition.partition("=")[::2] for condition in conditions)
    try:
        return ExampleFilter.model_validate_strings(fields)
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise typer.BadParameter(f"--where {'; '.join(problems)}") from None


@contextmanager
def _source(dataset: str) -> Iterator[ExampleSource]:
    """Yield the database as it is now, or the files where there is none."""
    url = read(DatabaseSettings).database_url
    with ExitStack() as opened:
        if url is None:
            window_seconds = read(WorkerSettings).window_seconds
            files = FileCatalogue(read(SpoolSettings).folder, window_seconds=window_seconds)
            opened.callback(files.close)
            catalogue = opened.enter_context(files.reading())
            source: ExampleSource = PagedSource(files.reading, datetime.now(UTC))
        else:
            check_schema(url.get_secret_value())
            database = PostgresCatalogue(url.get_secret_value())
            opened.callback(database.close)
            catalogue, now = opened.enter_context(database.snapshot())
            source = SnapshotSource(catalogue, now)
        _require(catalogue, dataset)
        yield source


def _require(catalogue: Catalogue, dataset: str) -> None:
    if catalogue.datasets.one(dataset) is None:
        known = ", ".join(each.id for each in catalogue.datasets.all()) or "none"
        fail(f"There is no dataset {dataset}; there are: {known}.", FAILURE)


def _write(export: Export, output: str | None) -> None:
    if output is None:
        _to_standard_output(export)
    elif output.endswith("/"):
        _to_folder(export, Path(output))
    else:
        _to_file(export, Path(output))


def _to_standard_output(export: Export) -> None:
    if export.format is Format.PARQUET and sys.stdout.isatty():
        fail("parquet is nothing for a terminal: give --output.", FAILURE)
    tally = Tally()
    for piece in export.pieces(tally):
        sys.stdout.buffer.write(piece)
    err.print(export.provenance.as_text(tally), markup=False, highlight=False, soft_wrap=True)


def _to_file(export: Export, path: Path) -> None:
    tally = Tally()
    with _NewFile(path) as file:
        for piece in export.pieces(tally):
            file.write(piece)
    _tell(path, tally, {**export.provenance.as_json(tally), **file.described()})


def _to_folder(export: Export, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tallies = {side: Tally() for side in Side}
    with ExitStack() as opened:
        files = {
            side: opened.enter_context(_NewFile(folder / f"{side}{export.format.suffix}"))
            for side in Side
        }
        for side, piece in export.sides(tallies):
            files[side].write(piece)
    for side, file in files.items():
        provenance = export.provenance.of_side(side)
        _tell(file.path, tallies[side], {**provenance.as_json(tallies[side]), **file.described()})


def _tell(path: Path, tally: Tally, provenance: dict[str, Any]) -> None:
    """Write beside a file where it comes from, and say that it is there."""
    with _NewFile(path.with_name(path.name + _PROVENANCE)) as file:
        file.write((json.dumps(provenance, indent=2) + "\n").encode())
    out.print(f"{tally.sides.total()} examples in {path}.", markup=False, soft_wrap=True)


class _NewFile:
    """A file that is there, whole, or not at all; nobody else may read it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unfinished = path.with_name(f"{path.name}.part")
        self._digest = hashlib.sha256()
        self._size = 0

    def __enter__(self) -> _NewFile:
        if self.path.exists():
            raise FileExistsError(f"{self.path} exists already; choose another name")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        self._file = os.fdopen(os.open(self._unfinished, flags, _PRIVATE_FILE), "wb")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._file.close()
        if kind is None:
            self._unfinished.replace(self.path)
        else:
            self._unfinished.unlink()

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._file.write(data)
        self._digest.update(data)
        self._size += len(data)

    def described(self) -> dict[str, Any]:
        """Return what tells the file from another."""
        return {"file": self.path.name, "bytes": self._size, "sha256": self._digest.hexdigest()}
