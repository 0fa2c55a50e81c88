"""Exports read back as what was written, whatever customers wrote."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from intentloop_schemas.texts import normalise
from intentloop_sink.catalogue import Example
from intentloop_sink.export import (
    Format,
    Provenance,
    Row,
    Selection,
    Side,
    Tally,
    rasa,
    side_of,
    spreadsheet,
)
from intentloop_sink.export.jsonl import as_json
from intentloop_sink.export.parquet import PROVENANCE
from intentloop_training.selection import SelectionRule, is_held_out
from support.strategies import text

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LETTERS = str.maketrans("0123456789", "abcdefghij")
PROVENANCE_OF_ALL = Provenance(Selection("ds-a"), NOON, 7)

HOSTILE = st.sampled_from(
    [
        '=cmd|"/c calc"!A1',
        "+1+1",
        "-2",
        "@SUM(1)",
        "\t=1",
        "\r=1",
        "  =1",
        "\uff1d1",
        "'quoted",
        "''",
        "[Berlin](city)",
        '[me]{"entity": "x"}',
        '[a][{"entity": "x"}]',
        r"[a]\(b)",
        r"[a]\\(b)",
        "]](x",
        "- not a list",
        "a: b # c",
        "%TAG ! x",
        "${HOME} {{x}}",
        '"\\',
        "line\nbreak\r\nand\u2028more\x85",
        "\ufeffmark\ufffe",
        "मेरा ऑर्डर 👍🏽",
        " ",
        "null",
        "3.1",
    ]
)
TEXTS = HOSTILE | text(1, 20)
EXAMPLES = st.builds(
    Example,
    id=st.integers(0, 10**10).map("ex-1698345600-{:016x}".format),
    dataset_id=st.just("ds-a"),
    type=st.just("nlu"),
    input=TEXTS,
    intent=TEXTS,
    tags=st.lists(HOSTILE | st.just("reviewed"), max_size=2),
    created_at=st.integers(0, 10**12).map(lambda ms: NOON - timedelta(milliseconds=ms)),
    event_id=st.just("e-1"),
    predicted_intent=HOSTILE,
    confidence=st.floats(0, 1),
    review_reasons=st.lists(st.sampled_from(["low_confidence", "small_margin"]), max_size=2),
    sender=HOSTILE,
    channel=st.sampled_from(["whatsapp", "web"]),
    language=st.none() | HOSTILE,
    model_version=HOSTILE | st.just(""),
    session_id=st.none() | HOSTILE,
    message_id=st.none(),
    current_step=st.none() | HOSTILE,
    alternatives=st.none() | st.just([{"intent": "=x", "confidence": 0.5}]),
)
ROWS = st.lists(st.builds(Row, EXAMPLES, st.sampled_from(Side)), max_size=4)


def written(kind: Format, rows: Sequence[Row]) -> bytes:
    """Write rows in two pages, as a stream would."""
    writer, tally = kind.writer(), Tally()
    tally.add(rows)
    middle = len(rows) // 2
    pieces = [writer.begin(PROVENANCE_OF_ALL), writer.rows(rows[:middle])]
    pieces += [writer.rows(rows[middle:]), writer.end(PROVENANCE_OF_ALL, tally)]
    return b"".join(pieces)


@given(ROWS)
def test_json_lines(rows: list[Row]) -> None:
    lines = written(Format.JSONL, rows).decode().split("\n")

    assert lines.pop() == ""
    assert [json.loads(line) for line in lines] == [as_json(row) for row in rows]


@given(ROWS)
def test_csv(rows: list[Row]) -> None:
    read = csv.reader(io.StringIO(written(Format.CSV, rows).decode("utf-8-sig"), newline=""))
    names, *lines = read

    assert names == list(spreadsheet.COLUMNS)
    for row, line in zip(rows, lines, strict=True):
        fields = as_json(row)
        for name, cell in zip(names, line, strict=True):
            value = fields[name]
            kept = spreadsheet.plain(cell)
            if value is None:
                assert kept == ""
            else:
                assert (kept if isinstance(value, str) else json.loads(kept)) == value


@given(ROWS)
def test_no_cell_of_a_csv_becomes_a_formula(rows: list[Row]) -> None:
    read = csv.reader(io.StringIO(written(Format.CSV, rows).decode("utf-8-sig"), newline=""))

    for line in read:
        for cell in line:
            assert not cell.lstrip().startswith(("=", "+", "-", "@", "\uff1d", "\uff0b")), cell
            assert not cell.startswith(("\t", "\r", "\n")), cell


@given(ROWS)
def test_rasa(rows: list[Row]) -> None:
    document = written(Format.RASA, rows).decode()
    read = yaml.safe_load(document)

    assert read["version"] == "3.1"
    pairs = [
        (block["intent"], rasa.plain(each["text"]))
        for block in read["nlu"]
        for each in block["examples"]
    ]
    assert pairs == [(row.example.intent, row.example.input) for row in rows]


@given(ROWS)
def test_rasa_finds_no_entities_in_what_customers_wrote(rows: list[Row]) -> None:
    entity = re.compile(r"\[[^\]]+?\](\([^:)]+?(:[^)]+)?\)|\{[^}]+?\}|\[.*?\])")

    for block in yaml.safe_load(written(Format.RASA, rows))["nlu"]:
        for each in block["examples"]:
            assert not entity.search(each["text"]), each


@given(ROWS)
def test_parquet(rows: list[Row]) -> None:
    file = io.BytesIO(written(Format.PARQUET, rows))

    read: list[dict[str, Any]] = parquet.read_table(file).to_pylist()
    for row, fields in zip(rows, read, strict=True):
        expected = as_json(row)
        assert fields.pop("createdAt") == row.example.created_at
        alternatives = fields.pop("alternatives")
        assert (alternatives and json.loads(alternatives)) == expected.pop("alternatives")
        del expected["createdAt"]
        assert fields == expected
    provenance = json.loads(parquet.read_metadata(file).metadata[PROVENANCE.encode()])
    assert provenance["dataset"] == "ds-a"
    assert provenance["written"]["examples"] == len(rows)


@given(ROWS)
def test_label_studio(rows: list[Row]) -> None:
    tasks = json.loads(written(Format.LABEL_STUDIO, rows))

    for row, task in zip(rows, tasks, strict=True):
        example = row.example
        assert task["data"]["text"] == example.input
        assert task["data"]["id"] == example.id
        (prediction,) = task["predictions"]
        assert prediction["score"] == example.confidence
        assert prediction["result"][0]["value"] == {"choices": [example.predicted_intent]}
        reviewed = [a["result"][0]["value"]["choices"] for a in task["annotations"]]
        assert reviewed == ([[example.intent]] if "reviewed" in example.tags else [])
        assert task["meta"]["provenance"]["asOf"] == "2026-03-01T12:00:00Z"


@given(TEXTS, st.floats(0, 1))
def test_a_text_is_always_on_the_same_side(words: str, share: float) -> None:
    side = side_of(words, share)

    assert side_of(words, share) is side
    assert side_of(f"  {words}\n", share) is side
    if share < 1:
        assert side is Side.TRAIN or side_of(words, (1 + share) / 2) is Side.TEST


@given(TEXTS)
def test_it_is_the_side_on_which_training_puts_it(words: str) -> None:
    rule = SelectionRule()

    assert (side_of(words) is Side.TEST) == is_held_out(normalise(words), rule)


def test_about_the_share_is_to_test_with_and_it_never_changes() -> None:
    # In letters: which number it is makes no other text.
    texts = [f"message {str(n).translate(LETTERS)}" for n in range(2_000)]
    tested = [words for words in texts if side_of(words) is Side.TEST]

    assert abs(len(tested) / len(texts) - 0.2) < 0.05
    assert side_of("where is my order") is Side.TRAIN
    assert side_of("where is my delivery?") is Side.TEST
    assert {side_of(words, 0) for words in texts} == {Side.TRAIN}
    assert {side_of(words, 1) for words in texts} == {Side.TEST}
