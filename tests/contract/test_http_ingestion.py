"""Conversations sent over HTTP, as clients of the first service send them."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from support import tables
from support.api import BULK, DATASETS, NOON, SEED, STATS, Api, conversation


def test_the_contract_s_bodies_to_the_letter(api: Api) -> None:
    answer = api.log(SEED)

    assert answer.status_code == 200
    assert answer.text == (
        '{"success":true,"count":1,"flaggedForReview":0,"datasetId":"ds-auto-training"}'
    )
    assert api.log(SEED).text == answer.text

    dataset = api.get(f"{DATASETS}/ds-auto-training").json()
    assert (dataset["id"], dataset["size"], dataset["type"]) == ("ds-auto-training", 1, "nlu")
    (example,) = api.get(f"{DATASETS}/ds-auto-training/examples").json()
    assert {k: example[k] for k in ("input", "intent", "tags", "createdAt")} == {
        "input": "where is my order?",
        "intent": "track_order",
        "tags": ["confidence:95", "source:+91******3210", "timestamp:1698345600000"],
        "createdAt": "2023-10-26T18:40:00Z",
    }


def test_some_items_invalid(api: Api, dataset: str) -> None:
    valid = conversation(datasetId=dataset, confidence=0.4)
    answer = api.log(valid, {**valid, "confidence": "0.9"}, {**valid, "timestamp": 1698345600})

    assert answer.status_code == 207
    assert answer.json() == {
        "success": False,
        "count": 1,
        "flaggedForReview": 1,
        "datasetId": dataset,
        "errors": [
            {"index": 1, "error": "confidence: send a number, not a string"},
            {
                "index": 2,
                "error": "timestamp: 1698345600 looks like seconds; send epoch milliseconds, "
                "1698345600000",
            },
        ],
    }


@pytest.mark.parametrize(
    ("conversations", "errors"),
    [
        ([], []),
        ([17], [{"index": 0, "error": "send a JSON object, not a number"}]),
        ([None], [{"index": 0, "error": "send a JSON object, not null"}]),
    ],
)
def test_all_invalid_or_none(api: Api, conversations: list[Any], errors: list[Any]) -> None:
    answer = api.log(*conversations)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["success"], body["count"], body["errors"]) == (False, 0, errors)
    assert body["detail"]


def test_one_more_than_a_thousand(api: Api, dataset: str) -> None:
    events = [conversation(i, datasetId=dataset) for i in range(1_001)]

    assert "at most 1000" in api.log(*events).json()["detail"]
    assert api.log(*events[:1_000]).json()["count"] == 1_000
    assert api.get(f"{DATASETS}/{dataset}").json()["size"] == 1_000


def test_sending_again_stores_nothing_twice(api: Api, dataset: str) -> None:
    events = [conversation(i, datasetId=dataset, eventId=f"e-{i}") for i in range(20)]

    first, second = api.log(*events[:15]), api.log(*events)

    assert (first.json()["count"], second.json()["count"]) == (15, 20)
    assert api.get(f"{DATASETS}/{dataset}").json()["size"] == 20
    (intent,) = api.get(STATS + "intents", params={"datasetId": dataset}).json()
    assert intent["count"] == 20


def test_the_same_event_with_other_content_is_refused(api: Api, dataset: str) -> None:
    event = conversation(datasetId=dataset, eventId="one")
    api.log(event)

    answer = api.log({**event, "messageText": "something else"}, conversation(1, datasetId=dataset))

    assert answer.status_code == 207
    assert answer.json()["count"] == 1
    assert [e["index"] for e in answer.json()["errors"]] == [0]
    assert "is stored already" in answer.json()["errors"][0]["error"]


def test_http_events_are_never_late(api: Api, dataset: str) -> None:
    api.log(conversation(datasetId=dataset, timestamp=NOON + 600_000))
    api.log(conversation(datasetId=dataset, timestamp=NOON))

    windows = api.get(STATS + "windows", params={"datasetId": dataset}).json()
    assert [window["late"] for window in windows] == [0, 0]


# Files are accounted for when they are replayed.
@pytest.mark.parametrize("api", ["postgres"], indirect=True)
def test_every_position_is_accounted_for(api: Api, module_database_url: str) -> None:
    gaps = "SELECT count(*) FROM conversation_batch_gaps"
    assert tables.query(module_database_url, gaps) == [(0,)]
    (row,) = tables.query(
        module_database_url,
        """
        SELECT sum(next_position - first_position), sum(stored + duplicates + rejected),
               bool_and(source = 'http'), bool_and(closed_by = 'request')
        FROM conversation_batch
        """,
    )
    assert row[0] == row[1] > 0
    assert row[2:] == (True, True)


def test_a_packed_body(api: Api, dataset: str) -> None:
    body = gzip.compress(json.dumps({"conversations": [conversation(datasetId=dataset)]}).encode())

    answer = api.post(BULK, content=body, headers={"Content-Encoding": "gzip"})

    assert answer.json()["count"] == 1
