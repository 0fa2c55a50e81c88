"""`GET .../export`: whole datasets, on Postgres and on files, as other tools read them."""

from __future__ import annotations

import csv
import io
import json
import uuid
from typing import Any

import pytest
import yaml
from pyarrow import parquet

from intentloop_admin.security.scopes import Scope
from intentloop_sink.export import Format
from support.api import DATASETS, Api, conversation

COUNT = 2_500
SENDER, MASKED = "+919876543210", "+91******3210"


def in_letters(number: int) -> str:
    """Texts that differ in a number alone are the same text to train with."""
    return str(number).translate(str.maketrans("0123456789", "abcdefghij"))


@pytest.fixture(scope="module")
def dataset(api: Api) -> str:
    """A dataset of some pages, with two intents, one reviewed example and nasty texts."""
    dataset = f"ds-{uuid.uuid4().hex[:12]}"
    nasty = ["=1+1", "[a](b)", '"quoted"\nline', "मेरा ऑर्डर 👍🏽"]
    logged = [
        conversation(
            n,
            datasetId=dataset,
            messageText=nasty[n] if n < len(nasty) else f"message {in_letters(n // 2)}",
            intent=("track_order", "cancel")[n % 2],
            eventId=f"e-{n}",
            sessionId="session-one",
        )
        for n in range(COUNT)
    ]
    for start in range(0, COUNT, 500):
        assert api.log(*logged[start : start + 500]).status_code == 200
    first = api.get(f"{DATASETS}/{dataset}/examples").json()[0]["id"]
    change = {"intent": "complain"}
    assert api.patch(f"{DATASETS}/{dataset}/examples/{first}", json=change).status_code == 200
    return dataset


def export(api: Api, dataset: str, **query: Any) -> Any:
    headers = query.pop("headers", None)
    answer = api.get(f"{DATASETS}/{dataset}/export", params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


def lines(api: Api, dataset: str, **query: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in export(api, dataset, **query).text.splitlines()]


def texts(api: Api, dataset: str, kind: Format) -> list[str]:
    """Return the texts of an export, as readers of its format see them."""
    content = export(api, dataset, format=kind).content
    match kind:
        case Format.JSONL:
            return [json.loads(line)["input"] for line in content.decode().splitlines()]
        case Format.CSV:
            table = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
            return [row["input"].removeprefix("'") for row in table]
        case Format.RASA:
            blocks = yaml.load(content, yaml.CSafeLoader)["nlu"]
            found = [each["text"] for block in blocks for each in block["examples"]]
            return [text.replace("]\\(", "](") for text in found]
        case Format.PARQUET:
            return parquet.read_table(io.BytesIO(content))["input"].to_pylist()
        case Format.LABEL_STUDIO:
            return [task["data"]["text"] for task in json.loads(content)]


@pytest.mark.parametrize("kind", Format)
def test_every_format_holds_every_example(api: Api, dataset: str, kind: Format) -> None:
    expected = sorted(example["input"] for example in lines(api, dataset))

    assert len(expected) == COUNT
    assert sorted(texts(api, dataset, kind)) == expected


def test_rasa_has_each_intent_once(api: Api, dataset: str) -> None:
    blocks = yaml.load(export(api, dataset, format="rasa").content, yaml.CSafeLoader)["nlu"]

    assert [block["intent"] for block in blocks] == ["cancel", "complain", "track_order"]
    one = export(api, dataset, format="rasa", intent="complain").content
    assert [b["intent"] for b in yaml.load(one, yaml.CSafeLoader)["nlu"]] == ["complain"]


def test_it_says_what_it_is_and_where_it_comes_from(api: Api, dataset: str) -> None:
    answer = export(api, dataset, format="csv", intent="cancel", split="test")

    assert answer.headers["content-type"].startswith("text/csv")
    disposition = answer.headers["content-disposition"]
    assert disposition.startswith(f'attachment; filename="{dataset}-')
    assert disposition.endswith('.csv"')
    provenance = json.loads(answer.headers["x-provenance"])
    assert provenance["dataset"] == dataset
    assert provenance["filter"] == {"intent": "cancel"}
    assert provenance["split"] == "test"
    assert provenance["senders"] == "masked"
    assert provenance["matching"] in (COUNT // 2, COUNT // 2 - 1)
    assert provenance["asOf"].endswith("Z")
    assert provenance["intentloop"]


def test_the_two_sides_share_no_text_and_are_all_there_is(api: Api, dataset: str) -> None:
    train, test = (lines(api, dataset, split=side) for side in ("train", "test"))

    assert {e["input"] for e in train}.isdisjoint(e["input"] for e in test)
    assert len(train) + len(test) == COUNT
    assert 0.1 < len(test) / COUNT < 0.3
    assert lines(api, dataset, split="test") == test
    assert lines(api, dataset, split="test", testShare=0) == []


@pytest.mark.parametrize("kind", Format)
def test_senders_are_masked_unless_the_key_may_see_them(
    api: Api, dataset: str, kind: Format
) -> None:
    masked = export(api, dataset, format=kind, split="test", intent="complain", testShare=1)
    pii = api.key(Scope.READ, Scope.PII)
    shown = export(
        api, dataset, format=kind, split="test", intent="complain", testShare=1, headers=pii
    )

    if kind is Format.PARQUET:
        columns = [parquet.read_table(io.BytesIO(a.content)).to_pylist() for a in (masked, shown)]
        assert [c[0]["sender"] for c in columns] == [MASKED, SENDER]
        assert [c[0]["sessionId"] for c in columns] == [None, "session-one"]
        return
    assert SENDER not in masked.text
    assert "session-one" not in masked.text
    if kind is not Format.RASA:
        assert SENDER in shown.text


def test_filtering_by_sender_needs_the_same_right(api: Api, dataset: str) -> None:
    address = f"{DATASETS}/{dataset}/export"

    assert api.get(address, params={"tag": f"source:{SENDER}"}).status_code == 403
    pii = api.key(Scope.READ, Scope.PII)
    assert len(lines(api, dataset, tag=f"source:{SENDER}", headers=pii)) == COUNT


def test_what_cannot_be_exported_says_why(api: Api, dataset: str) -> None:
    address = f"{DATASETS}/{dataset}/export"
    for wrong in ({"format": "xml"}, {"split": "x"}, {"testShare": 2}, {"nonsense": 1}):
        assert api.get(address, params=wrong).status_code == 422, wrong
    assert api.get(f"{DATASETS}/ds-none/export").status_code == 404


def test_an_empty_selection_is_an_empty_file_of_its_kind(api: Api, dataset: str) -> None:
    def empty(kind: Format) -> bytes:
        return bytes(export(api, dataset, format=kind, intent="never").content)

    assert empty(Format.JSONL) == b""
    assert empty(Format.CSV).count(b"\r\n") == 1
    assert yaml.safe_load(empty(Format.RASA)) == {"version": "3.1", "nlu": []}
    assert parquet.read_table(io.BytesIO(empty(Format.PARQUET))).num_rows == 0
    assert json.loads(empty(Format.LABEL_STUDIO)) == []


def test_many_exports_one_after_the_other_leave_nothing_open(api: Api, dataset: str) -> None:
    for _ in range(6):
        export(api, dataset, intent="complain")
