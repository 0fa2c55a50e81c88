"""The HTTP contract, as clients of the first service know it."""

from __future__ import annotations

import gzip
import json
import statistics
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from intentloop_admin.security.scopes import Scope
from intentloop_schemas import LoggerReport
from support import tables
from support.api import (
    BULK,
    DATASETS,
    NOON,
    Api,
    conversation,
)

STATS = "/api/stats/"
SEED = {
    "phoneNumber": "+919876543210",
    "messageText": "where is my order?",
    "intent": "track_order",
    "confidence": 0.95,
    "currentStep": "main_menu",
    "timestamp": 1698345600000,
}


@pytest.fixture
def dataset() -> str:
    """A dataset of the test's own."""
    return f"ds-{uuid.uuid4().hex[:12]}"


def pages(api: Api, address: str) -> Iterator[list[dict[str, Any]]]:
    while True:
        answer = api.get(address)
        assert answer.status_code == 200, answer.text
        yield answer.json()
        if "next" not in answer.links:
            return
        address = answer.links["next"]["url"]


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


def test_request_ids_come_back(api: Api) -> None:
    assert api.get("/healthz", headers={"X-Request-ID": "abc-1"}).headers["X-Request-ID"] == "abc-1"
    made = api.get("/healthz", headers={"X-Request-ID": "<script>"}).headers["X-Request-ID"]
    assert made.isalnum()


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


def test_statistics_by_intent_and_window(api: Api, dataset: str) -> None:
    confidences = [0.1, 0.5, 0.65, 0.8, 0.9, 0.9, 0.95, 1.0]
    start = NOON // 3_600_000 * 3_600_000
    events = [
        conversation(datasetId=dataset, confidence=c, timestamp=start + i, modelVersion="v1")
        for i, c in enumerate(confidences)
    ]
    later = conversation(
        datasetId=dataset, intent="nlu_fallback", timestamp=start + 40_000, channel="web"
    )
    api.log(*events, later)
    query = {"datasetId": dataset}

    track, fallback = api.get(STATS + "intents", params=query).json()
    newest, oldest = api.get(STATS + "windows", params=query).json()

    assert track["intent"] == "track_order"
    assert (track["count"], track["flagged"], track["late"]) == (8, 3, 0)
    assert track["meanConfidence"] == pytest.approx(statistics.mean(confidences))
    assert track["deviation"] == pytest.approx(statistics.pstdev(confidences))
    assert (track["minConfidence"], track["maxConfidence"]) == (0.1, 1.0)
    assert track["p50"] == pytest.approx(0.85, abs=0.051)
    assert sum(track["histogram"]) == 8
    assert (fallback["fallbackShare"], fallback["flaggedShare"]) == (1.0, 1.0)
    assert (newest["count"], oldest["count"], oldest["intents"]) == (1, 8, 1)
    assert oldest["isFinal"]
    assert oldest["end"] == newest["start"]
    assert {k: oldest[k] for k in track if k != "intent"} == {
        k: v for k, v in track.items() if k != "intent"
    }
    for narrower in ({"channel": "web"}, {"intent": "nlu_fallback"}, {"modelVersion": ""}):
        (only,) = api.get(STATS + "intents", params={**query, **narrower}).json()
        assert only["count"] == 1
    (hour,) = api.get(STATS + "windows", params={**query, "granularity": "hour"}).json()
    assert (hour["count"], hour["intents"]) == (9, 2)
    assert len(api.get(STATS + "windows", params={**query, "limit": 1}).json()) == 1


def test_the_promises_beside_their_targets(api: Api, dataset: str) -> None:
    now = time.time_ns() // 1_000_000
    api.log(
        *(
            conversation(datasetId=dataset, confidence=c, timestamp=now - i)
            for i, c in enumerate([0.9] * 9 + [0.2])
        )
    )

    def send(sent: LoggerReport) -> Any:
        headers = {"Content-Type": "application/json"}
        return api.post("/api/loggers/reports", content=sent.to_json(), headers=headers)

    def figures() -> dict[str, dict[str, Any]]:
        answer = api.get(STATS + "summary", params={"datasetId": dataset})
        return {figure["name"]: figure for figure in answer.json()["figures"]}

    before = figures()
    assert before["conversationsPerDay"]["value"] == 10
    assert before["conversationsPerDay"]["isMet"] is False
    assert (before["flaggedShare"]["value"], before["flaggedShare"]["target"]) == (0.1, 0.2)
    for name in ("loggingLatencyP99", "successRate"):
        assert (before[name]["value"], before[name]["note"]) == (None, "not reported")
        assert before[name]["isMet"] is None

    counts = {"accepted": 1_000, "recovered": 0, "delivered": 998, "invalid": 0}
    counts |= {"dropped": 1, "failed": 1}
    names = {"loggerId": f"bot-{dataset}", "version": "0.1.0", "transport": "http"}
    times = {"startedAt": now - 3_600_000, "reportedAt": now, "logP99Us": 42.0}
    report = LoggerReport.model_validate({**counts, **names, **times})
    earlier = report.model_copy(update={"reported_at": now - 2 * 86_400_000})
    for sent, is_new in ((report, True), (report, False)):
        answer = send(sent)
        assert (answer.status_code, answer.json()["isNew"]) == (202, is_new)

    after = figures()
    assert after["loggingLatencyP99"]["value"] == pytest.approx(0.042)
    assert after["successRate"]["value"] == pytest.approx(0.998)
    assert after["successRate"]["isMet"] is True

    # What it had counted before is not of this day.
    send(earlier)
    newest = {"reported_at": now + 1, "accepted": 2_000, "delivered": 1_098}
    send(report.model_copy(update=newest))
    assert figures()["successRate"]["value"] == 1.0


def test_how_the_pipeline_is(api: Api, dataset: str) -> None:
    api.log(conversation(datasetId=dataset))

    health = api.get("/api/health/pipeline").json()

    assert (health["status"], health["store"]) == ("ok", api.services.storage.mode)
    assert health["records"]["stored"] > 0
    assert health["lastCommitAt"] is not None
    assert (health["lag"], health["deadLetters"]) == (None, None)
    assert health["spool"]["conversations"] == 0
    (line,) = health["partitions"]
    assert line["nextPosition"] >= health["records"]["stored"]
    if health["store"] == "postgres":
        assert health["reconciliation"] == {"isComplete": True, "gaps": 0, "lost": 0}
