"""What the API does with bodies that nobody should send, and words that others would obey."""

from __future__ import annotations

import gzip
import json
import socket
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intentloop_admin.ingest import MalformedBodyError, split_conversations
from intentloop_admin.security.authentication import HEADER
from intentloop_schemas import Entry, ReviewRule
from intentloop_stream.processing import Decoder, Rejection
from support import tables
from support.api import ADMIN_KEY, BULK, DATASETS, Api, configuration, conversation, serving
from support.batches import LogRecord

MEGABYTE = 1 << 20
NESTED = b'{"conversations":' + b"[" * 100_000


def bodies() -> Iterator[tuple[str, bytes, dict[str, str], int]]:
    event = json.dumps({"conversations": [conversation()]}, ensure_ascii=False)
    packed = {"Content-Encoding": "gzip"}
    yield "nothing", b"", {}, 400
    yield "no JSON", b"conversations=1", {}, 400
    yield "half a body", event.encode()[:-5], {}, 400
    yield "deep nesting", NESTED, {}, 400
    yield "deep nesting of objects", b'{"a":' * 100_000, {}, 400
    yield "UTF-16", event.encode("utf-16"), {}, 400
    yield "UTF-32", event.encode("utf-32"), {}, 400
    yield "Latin-1", event.replace("order", "\xf6rder").encode("latin-1"), {}, 422
    yield "a byte order mark", b"\xef\xbb\xbf" + event.encode(), {}, 400
    yield "a NUL", event.encode() + b"\0", {}, 400
    yield "a list", b"[]", {}, 422
    yield "a number", b"17", {}, 422
    yield "no list", b'{"conversations":{"0":{}}}', {}, 422
    yield "100 MB", b" " * (100 * MEGABYTE), {}, 413
    yield "a bomb", gzip.compress(b" " * (100 * MEGABYTE), 1), packed, 413
    yield "no gzip", event.encode(), packed, 400
    yield "half a gzip", gzip.compress(event.encode())[:-9], packed, 400
    yield "two gzips", gzip.compress(event.encode()) * 2, packed, 400
    yield "deflate", zlib.compress(event.encode()), {"Content-Encoding": "deflate"}, 415
    yield "brotli", event.encode(), {"Content-Encoding": "br"}, 415
    yield "huge number", b'{"conversations":[' + b"9" * 1_000_000 + b"]}", {}, 422
    yield "a million items", b'{"conversations":[' + b"1," * 1_000_000 + b"1]}", {}, 422


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [pytest.param(*rest, id=name) for name, *rest in bodies()],
)
def test_bad_bodies(api: Api, body: bytes, headers: dict[str, str], status: int) -> None:
    answer = api.post(BULK, content=body, headers=headers)

    assert answer.status_code == status, answer.text[:300]
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.json()["detail"]) > 10
    assert api.log(conversation()).status_code == 200


def test_one_bad_item_costs_no_other(api: Api) -> None:
    good = [json.dumps(conversation(i, datasetId="ds-abuse")) for i in range(4)]
    bad = [
        good[0].replace("where is my order?", "\\ud800"),
        good[0].replace("0.95", "NaN"),
        good[0].replace("0.95", "1e999"),
        good[0].replace("1700000000000", "9" * 5_000),
        good[0].replace("1700000000000", "-" + "9" * 5_000),
        good[0].replace("where is my order?", "\\u0000"),
    ]
    mixed = [*good[:2], *bad, *good[2:]]

    answer = api.post(BULK, content=f'{{"conversations":[{",".join(mixed)}]}}')

    assert answer.status_code == 207
    assert answer.json()["count"] == 4
    assert [e["index"] for e in answer.json()["errors"]] == list(range(2, 8))
    assert "not JSON" in answer.json()["errors"][0]["error"]


def test_many_large_bodies_at_once_are_bounded(api: Api) -> None:
    """A bomb is refused before it is unpacked."""
    bomb = gzip.compress(b" " * (200 * MEGABYTE), 1)
    tracemalloc.start()
    assert api.post(BULK, content=bomb, headers={"Content-Encoding": "gzip"}).status_code == 413
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 64 * MEGABYTE


def test_a_slow_body_is_given_up(module_database_url: str, tmp_path: Path) -> None:
    with serving(configuration(module_database_url, tmp_path, body_seconds=0.3)) as address:
        host = urlsplit(address)
        with socket.create_connection((host.hostname, host.port), timeout=10) as client:
            head = f"POST {BULK} HTTP/1.1\r\nHost: x\r\n{HEADER}: {ADMIN_KEY}\r\n"
            client.sendall(f"{head}Content-Length: 1000\r\n\r\n".encode())
            answer = b""
            started = time.monotonic()
            while chunk := client.recv(65_536):
                answer += chunk
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"application/problem+json" in answer
        assert time.monotonic() - started < 10


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    [
        *("phoneNumber", "messageText", "intent", "confidence", "timestamp", "eventId"),
        *("channel", "alternatives", "datasetId", "modelVersion", "other"),
    ]
)


@given(st.dictionaries(FIELDS, JSON, max_size=4), st.sampled_from(["", "NaN", '"\\ud800"']))
def test_each_item_is_judged_as_the_worker_judges_a_record(
    changes: dict[str, Any], neighbour: str
) -> None:
    """Also when something beside it makes the body one that strict readers refuse."""
    value = json.dumps({**conversation(), **changes})
    body = f'{{"conversations":[{",".join(filter(None, [value, neighbour]))}]}}'.encode()

    (ours, theirs) = (
        Decoder(ReviewRule(), 30).decode([LogRecord(0, value=one)], None)[0]
        for one in (split_conversations(body)[0], value.encode())
    )

    if isinstance(theirs, Rejection):
        assert isinstance(ours, Rejection)
        assert ours.error == theirs.error or theirs.reason == "invalid_json"
    else:
        assert isinstance(ours, Entry)
        assert replace(ours, record=theirs.record) == theirs


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with suppress(MalformedBodyError):
        split_conversations(body)


WORDS = [
    "'; DROP TABLE dataset; --",
    '" OR 1=1 --',
    "%(x)s %s :x $1 {0} {{7*7}} ${7*7} <%= 7*7 %>",
    "\\'; SELECT pg_sleep(10); --",
    'x",needs_review,"',
    "{needs_review}",
    "\\N",
    "\t\r\n\\",
    "../../etc/passwd",
    "<script>alert(1)</script>",
    "__class__.__mro__",
    "='cmd'!A1",
    "%_\\%",
    "\u202e\ufeff\U0001f4a9",
]
"""Others would take these for SQL, templates, array literals, COPY, paths or markup."""


@pytest.mark.parametrize("words", WORDS)
def test_words_stay_words_in_every_field(api: Api, words: str) -> None:
    dataset = f"ds-{abs(hash((words, api.services.storage.mode))):x}"
    event = conversation(
        datasetId=dataset,
        phoneNumber=words[:64],
        messageText=words,
        intent=words,
        currentStep=words,
        eventId=words[:64],
        language=words,
        modelVersion=words,
        sessionId=words,
        messageId=words,
        alternatives=[{"intent": words, "confidence": 0.1}],
    )
    address = f"{DATASETS}/{dataset}"

    assert api.log(event).json()["count"] == 1
    (example,) = api.get(f"{address}/examples").json()
    assert (example["input"], example["intent"], example["currentStep"]) == (words,) * 3
    assert (example["language"], example["modelVersion"]) == (words,) * 2
    assert example["alternatives"] == [{"intent": words, "confidence": 0.1}]
    assert "needs_review" not in example["tags"]

    for query in ({"intent": words}, {"q": words}, {"modelVersion": words}):
        assert len(api.get(f"{address}/examples", params=query).json()) == 1, query
        assert api.get(f"{address}/examples", params={"tag": words}).json() == []
    tagged = api.patch(f"{address}/examples/{example['id']}", json={"addTags": [words]})
    assert tagged.json()["tags"][-1] == words
    assert len(api.get(f"{address}/examples", params={"tag": words}).json()) == 1
    api.patch(address, json={"name": words})
    assert api.get(address).json()["name"] == words
    api.put(f"{address}/intents", json={"intent": words, "description": words})
    found = {i["name"]: i["description"] for i in api.get(f"{address}/intents").json()}
    assert found == {words: words}
    renamed = api.post(f"{address}/intents/rename", json={"intent": words, "to": words + "!"})
    assert renamed.json() == {"examples": 1}
    (sums,) = api.get(
        "/api/stats/intents", params={"datasetId": dataset, "intent": words, "modelVersion": words}
    ).json()
    assert sums["intent"] == words
    in_path = quote(words, safe="")
    for missing in (f"{DATASETS}/{in_path}", f"{address}/examples/{in_path}"):
        assert api.get(missing).status_code in (404, 405, 422)


def test_nothing_was_dropped(api: Api, module_database_url: str) -> None:
    if api.services.storage.mode == "postgres":
        assert tables.query(module_database_url, 'SELECT count(*) > 0 FROM "Dataset"') == [(True,)]
