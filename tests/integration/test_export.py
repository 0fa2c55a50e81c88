"""`intentloop export`: files with their provenance, from the database and from files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet
from typer.testing import CliRunner, Result

from intentloop_cli.app import app
from intentloop_sink import PostgresSink, Stored
from intentloop_sink.catalogue import ExampleFilter, FileCatalogue, PostgresCatalogue
from intentloop_sink.export import PagedSource, SnapshotSource
from intentloop_sink.spool import Spool
from support import tables
from support.batches import entry, tens, traffic

COUNT = 300
Intentloop = Callable[..., Result]


@pytest.fixture
def database(database_url: str) -> str:
    sink = PostgresSink(database_url, window_seconds=30, writer="test")
    letters = str.maketrans("0123456789", "abcdefghij")
    texts = [f"message {n // 2}".translate(letters) for n in range(COUNT)]
    log = [entry(n, message_text=text, event_id=f"e{n}") for n, text in enumerate(texts)]
    assert isinstance(sink.store(sink.prepare(tens(log))), Stored)
    sink.close()
    return database_url


@pytest.fixture
def intentloop(database: str, tmp_path: Path) -> Intentloop:
    environment = {"DATABASE_URL": database, "FALLBACK_DIR": str(tmp_path / "fallback")}

    def run(*arguments: str, **more: str) -> Result:
        return CliRunner(env={**environment, **more}).invoke(app, ["export", *arguments])

    return run


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_file_comes_with_its_provenance_and_is_private(
    intentloop: Intentloop, tmp_path: Path
) -> None:
    file = tmp_path / "data.jsonl"
    made = intentloop("ds-auto-training", "--output", str(file), "--where", "minConfidence=0.5")
    assert made.exit_code == 0, made.output
    assert f"{COUNT} examples in {file}" in made.stdout

    assert len(rows(file)) == COUNT
    assert file.stat().st_mode & 0o077 == 0
    provenance = json.loads((tmp_path / "data.jsonl.provenance.json").read_text())
    assert provenance["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert provenance["bytes"] == file.stat().st_size
    assert provenance["filter"] == {"minConfidence": 0.5}
    written = provenance["written"]
    assert written["examples"] == written["train"] + written["test"] == COUNT
    assert written["intents"] == {"track_order": COUNT}
    assert {row["sender"] for row in rows(file)} == {"+91******3210"}


def test_a_folder_gets_both_sides_of_one_state(intentloop: Intentloop, tmp_path: Path) -> None:
    made = intentloop("ds-auto-training", "--format", "parquet", "--output", f"{tmp_path}/split/")
    assert made.exit_code == 0, made.output

    train, test = (
        parquet.read_table(tmp_path / "split" / f"{side}.parquet") for side in ("train", "test")
    )
    assert train.num_rows + test.num_rows == COUNT
    assert set(train["input"].to_pylist()).isdisjoint(test["input"].to_pylist())
    provenances = [
        json.loads((tmp_path / "split" / f"{side}.parquet.provenance.json").read_text())
        for side in ("train", "test")
    ]
    assert provenances[0]["asOf"] == provenances[1]["asOf"]
    assert [p["written"]["examples"] for p in provenances] == [train.num_rows, test.num_rows]


def test_standard_output_holds_the_rows_alone(intentloop: Intentloop) -> None:
    piped = intentloop("ds-auto-training", "--with-senders")

    assert len(piped.stdout.splitlines()) == COUNT
    assert json.loads(piped.stdout.splitlines()[0])["sender"] == "+919876543210"
    assert json.loads(piped.stderr)["written"]["examples"] == COUNT


def test_nothing_is_overwritten_and_nothing_half_is_left(
    intentloop: Intentloop, tmp_path: Path
) -> None:
    file = tmp_path / "data.csv"
    file.write_text("mine")
    refused = intentloop("ds-auto-training", "--format", "csv", "--output", str(file))
    assert refused.exit_code == 1
    assert "exists already" in refused.stderr
    assert file.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]


def test_mistakes_are_explained(intentloop: Intentloop) -> None:
    missing = intentloop("ds-none")
    assert missing.exit_code == 1
    assert "no dataset ds-none; there are: ds-auto-training" in missing.stderr
    for wrong in ("colour=red", "minConfidence=high", "since=yesterday", "intent"):
        refused = intentloop("ds-auto-training", "--where", wrong)
        assert refused.exit_code == 2, wrong
        assert wrong.partition("=")[0] in refused.stderr
    away = intentloop("ds-a", DATABASE_URL="postgresql://postgres@127.0.0.1:1/nowhere")
    assert away.exit_code == 1
    assert "does not answer" in away.stderr


def test_an_export_sees_one_state_whatever_happens_meanwhile(database: str) -> None:
    catalogue = PostgresCatalogue(database)
    with catalogue.snapshot() as (snapshot, now):
        source = SnapshotSource(snapshot, now)
        assert source.count("ds-auto-training", ExampleFilter()) == COUNT
        tables.query(database, 'DELETE FROM "Example"')
        pages = source.examples("ds-auto-training", ExampleFilter(), by_intent=True)
        assert sum(map(len, pages)) == COUNT
    catalogue.close()


def test_pages_and_snapshots_hold_the_same(database: str) -> None:
    catalogue = PostgresCatalogue(database)
    with catalogue.snapshot() as (snapshot, now):
        sources = (SnapshotSource(snapshot, now), PagedSource(catalogue.reading, now))
        for by_intent in (False, True):
            for wanted in (ExampleFilter(), ExampleFilter(q="MESSAGE B")):
                whole, paged = (
                    [
                        e
                        for page in s.examples("ds-auto-training", wanted, by_intent=by_intent)
                        for e in page
                    ]
                    for s in sources
                )
                assert whole == paged
                assert sources[0].count("ds-auto-training", wanted) == len(whole)
                assert sources[1].count("ds-auto-training", wanted) == len(whole)
    catalogue.close()


def test_without_a_database_the_files_are_exported(intentloop: Intentloop, tmp_path: Path) -> None:
    with Spool(tmp_path / "fallback", "api-1") as spool:
        spool.append(tens(traffic(range(50))))

    made = intentloop("ds-shop", "--format", "rasa", DATABASE_URL="")
    assert made.exit_code == 0, made.output
    assert made.stdout.startswith("# {")
    assert "- intent: " in made.stdout

    folder = tmp_path / "fallback"
    api = FileCatalogue(folder, window_seconds=30)
    held = intentloop("ds-shop", DATABASE_URL="")
    api.close()
    assert held.exit_code == 1
    assert "another API" in held.stderr
