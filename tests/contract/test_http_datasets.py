"""Datasets over HTTP: their examples, reviews and intents, from creation to end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from intentloop_admin.security.scopes import Scope
from support.api import DATASETS, NOON, SEED, STATS, Api, conversation


def pages(api: Api, address: str) -> Iterator[list[dict[str, Any]]]:
    while True:
        answer = api.get(address)
        assert answer.status_code == 200, answer.text
        yield answer.json()
        if "next" not in answer.links:
            return
        address = answer.links["next"]["url"]


def test_pages_go_from_the_newest_to_the_oldest(api: Api, dataset: str) -> None:
    api.log(*(conversation(i // 2, datasetId=dataset, eventId=f"e-{i}") for i in range(25)))

    found = list(pages(api, f"{DATASETS}/{dataset}/examples?limit=10"))

    assert [len(page) for page in found] == [10, 10, 5]
    examples = [example for page in found for example in page]
    assert len({example["id"] for example in examples}) == 25
    times = [datetime.fromisoformat(example["createdAt"]) for example in examples]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({}, {0, 1, 2, 3}),
        ({"tag": "needs_review"}, {1, 3}),
        ({"intent": "cancel"}, {2}),
        ({"q": "REFUND"}, {3}),
        ({"q": "100%"}, {2}),
        ({"q": "_"}, set()),
        ({"minConfidence": 0.5}, {0, 2, 3}),
        ({"maxConfidence": 0.5}, {1, 3}),
        ({"minConfidence": 0.5, "maxConfidence": 0.5}, {3}),
        ({"channel": "web"}, {1}),
        ({"since": "2023-11-14T22:13:21Z"}, {1, 2, 3}),
        ({"since": "2023-11-14T22:13:21Z", "until": "2023-11-14T22:13:23Z"}, {1, 2}),
        ({"tag": "confidence:95"}, {0, 2}),
        ({"modelVersion": "v2"}, {3}),
        ({"predictedIntent": "cancel", "channel": "whatsapp"}, {2}),
    ],
)
def test_filters(api: Api, dataset: str, query: dict[str, Any], wanted: set[int]) -> None:
    api.log(
        conversation(0, datasetId=dataset),
        conversation(1_000, datasetId=dataset, confidence=0.2, channel="web"),
        conversation(2_000, datasetId=dataset, intent="cancel", messageText="100% sure: cancel"),
        conversation(
            3_000, datasetId=dataset, confidence=0.5, messageText="Refund?", modelVersion="v2"
        ),
    )

    answer = api.get(f"{DATASETS}/{dataset}/examples", params=query)

    assert answer.status_code == 200, answer.text
    stamps = {int(example["tags"][2].removeprefix("timestamp:")) for example in answer.json()}
    assert stamps == {NOON + 1_000 * number for number in wanted}


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=x",
        "limt=5",
        "cursor=x",
        "cursor=%00",
        "cursor=OTk5OTk5OTk5OTk5OTk5OTk5OTk6eA",
        "minConfidence=2",
        "since=yesterday",
        "since=1698345600",
        "since=2026-03-01T12:00:00",
        "until=0001-01-01T00:00:00%2B09:00",
        "channel=WEB",
        "intent=",
    ],
)
def test_a_wrong_query_is_told_what_is_wrong(api: Api, query: str) -> None:
    api.log(SEED)
    answer = api.get(f"{DATASETS}/ds-auto-training/examples?{query}")

    assert answer.status_code == 422
    assert query.split("=", maxsplit=1)[0] in answer.json()["detail"]


def test_what_is_not_there(api: Api, dataset: str) -> None:
    for address in (f"{DATASETS}/{dataset}", f"{DATASETS}/{dataset}/examples", "/api/nothing"):
        answer = api.get(address)
        assert answer.status_code == 404
        assert answer.json()["status"] == 404
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_dataset_from_its_creation_to_its_end(api: Api, dataset: str) -> None:
    assert api.post(DATASETS, json={"id": dataset, "name": "Shop"}).status_code == 201
    assert api.post(DATASETS, json={"id": dataset, "name": "Shop"}).status_code == 409
    assert api.get(f"{DATASETS}/{dataset}").json()["size"] == 0
    renamed = api.patch(f"{DATASETS}/{dataset}", json={"name": "Web shop"})
    assert renamed.json()["name"] == "Web shop"
    api.log(*(conversation(i, datasetId=dataset) for i in range(3)))
    assert dataset in {found["id"] for found in api.get(DATASETS).json()}

    for query in ("", "?confirm=ds-other"):
        refused = api.delete(f"{DATASETS}/{dataset}{query}")
        assert refused.status_code == 409
        assert f"?confirm={dataset}" in refused.json()["detail"]
    assert api.delete(f"{DATASETS}/{dataset}?confirm={dataset}").json() == {"examples": 3}

    assert api.get(f"{DATASETS}/{dataset}").status_code == 404
    for figures in ("intents", "windows", "windows?granularity=hour"):
        assert api.get(STATS + figures, params={"datasetId": dataset}).json() == []
    # Traffic goes on: the next event begins it anew.
    api.log(conversation(7, datasetId=dataset))
    assert api.get(f"{DATASETS}/{dataset}").json()["size"] == 1


def test_a_review(api: Api, dataset: str) -> None:
    api.log(conversation(datasetId=dataset, confidence=0.4))
    (example,) = api.get(f"{DATASETS}/{dataset}/examples").json()
    assert "needs_review" in example["tags"]
    address = f"{DATASETS}/{dataset}/examples/{example['id']}"

    reviewed = api.patch(address, json={"intent": "cancel_order", "addTags": ["golden"]}).json()

    assert reviewed["tags"] == [
        "confidence:40",
        "source:+91******3210",
        f"timestamp:{NOON}",
        "reviewed",
        "golden",
    ]
    assert (reviewed["intent"], reviewed["predictedIntent"]) == ("cancel_order", "track_order")
    assert (reviewed["confidence"], reviewed["reviewReasons"]) == (0.4, ["low_confidence"])
    assert api.get(address).json() == reviewed
    undone = api.patch(address, json={"reviewed": False, "removeTags": ["golden"]}).json()
    assert undone["tags"][3:] == ["needs_review"]


def test_a_new_label_unsays_a_rejection(api: Api, dataset: str) -> None:
    api.log(conversation(datasetId=dataset))
    (example,) = api.get(f"{DATASETS}/{dataset}/examples").json()
    address = f"{DATASETS}/{dataset}/examples/{example['id']}"
    api.patch(address, json={"reviewed": True, "addTags": ["rejected"]})
    assert api.get(address).json()["tags"][3:] == ["reviewed", "rejected"]

    assert api.patch(address, json={"intent": "cancel_order"}).json()["tags"][3:] == ["reviewed"]


@pytest.mark.parametrize(
    "change",
    [
        {"addTags": ["reviewed"]},
        {"addTags": ["source:+1"]},
        {"removeTags": ["confidence:95"]},
        {"intent": ""},
        {"confidence": 1.0},
        {"intent": "x\0y"},
    ],
)
def test_what_a_review_may_not_change(api: Api, change: dict[str, Any]) -> None:
    api.log(SEED)
    (example,) = api.get(f"{DATASETS}/ds-auto-training/examples?limit=1").json()

    answer = api.patch(f"{DATASETS}/ds-auto-training/examples/{example['id']}", json=change)

    assert answer.status_code == 422


def test_many_at_once(api: Api, dataset: str) -> None:
    api.log(*(conversation(i, datasetId=dataset, confidence=0.1 * i) for i in range(10)))
    address = f"{DATASETS}/{dataset}/examples"
    flagged = {"tag": "needs_review", "maxConfidence": 0.45}

    changed = api.post(
        f"{DATASETS}/{dataset}/bulk",
        json={"filter": flagged, "action": "change", "change": {"intent": "smalltalk"}},
    )
    deleted = api.post(
        f"{DATASETS}/{dataset}/bulk", json={"filter": {"minConfidence": 0.75}, "action": "delete"}
    )

    assert changed.json() == {"count": 5, "more": False}
    assert deleted.json() == {"count": 2, "more": False}
    assert len(api.get(address, params={"intent": "smalltalk", "tag": "reviewed"}).json()) == 5
    assert api.get(f"{DATASETS}/{dataset}").json()["size"] == 8


def test_only_a_key_for_it_sees_senders(api: Api, dataset: str) -> None:
    event = conversation(datasetId=dataset, sessionId="s-1", messageId="m-1")
    api.log(event)
    address = f"{DATASETS}/{dataset}/examples"
    source = {"tag": "source:+919876543210"}

    (masked,) = api.get(address, headers=api.key(Scope.READ)).json()
    assert "+919876543210" not in json.dumps(masked)
    assert (masked["sessionId"], masked["messageId"]) == (None, None)
    assert api.get(address, params=source, headers=api.key(Scope.READ)).status_code == 403
    (seen,) = api.get(address, params=source, headers=api.key(Scope.READ, Scope.PII)).json()
    assert (seen["sender"], seen["tags"][1]) == ("+919876543210", "source:+919876543210")
    assert (seen["sessionId"], seen["messageId"]) == ("s-1", "m-1")


def test_intents_are_described_renamed_and_merged(api: Api, dataset: str) -> None:
    names = ["track_order"] * 3 + ["faq/hours"] * 2 + ["opening times"]
    api.log(*(conversation(i, datasetId=dataset, intent=n) for i, n in enumerate(names)))
    address = f"{DATASETS}/{dataset}/intents"

    api.put(address, json={"intent": "faq/hours", "description": "When are you open?"})
    api.put(address, json={"intent": "human", "description": "Wants a person."})
    merged = api.post(
        f"{address}/merge", json={"intents": ["faq/hours", "opening times"], "to": "hours"}
    )
    renamed = api.post(f"{address}/rename", json={"intent": "track_order", "to": "where_is_it"})

    assert (merged.json(), renamed.json()) == ({"examples": 3}, {"examples": 3})
    found = {i["name"]: (i["predictions"], i["description"]) for i in api.get(address).json()}
    assert found == {
        "track_order": (3, ""),
        "faq/hours": (2, ""),
        "opening times": (1, ""),
        "hours": (0, "When are you open?"),
        "human": (0, "Wants a person."),
        "where_is_it": (0, ""),
    }
    examples = api.get(f"{DATASETS}/{dataset}/examples").json()
    assert {e["intent"] for e in examples} == {"hours", "where_is_it"}
    assert {e["predictedIntent"] for e in examples} == set(names)
