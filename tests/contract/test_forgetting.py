"""Whatever road examples are deleted by, the review shows nothing of them any more."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from conftest import Eventually
from intentloop_admin.security.scopes import Scope
from intentloop_sink.catalogue import PostgresCatalogue, SetRetention
from intentloop_sink.privacy import apply_retention
from support import tables
from support.api import DATASETS, NOON, Api, conversation

DAY_MS = 86_400_000
Delete = Callable[[Api, str], None]


def sender(dataset: str) -> str:
    """Return who writes what is deleted: somebody else in each dataset."""
    return f"user-of-{dataset}"


def in_bulk(api: Api, dataset: str) -> None:
    until = datetime.fromtimestamp((NOON + DAY_MS) / 1000, UTC).isoformat()
    action = {"action": "delete", "filter": {"until": until}}
    answer = api.post(f"{DATASETS}/{dataset}/bulk", json=action)
    assert (answer.status_code, answer.json()["count"]) == (200, 2), answer.text


def by_erasure(api: Api, dataset: str) -> None:
    eraser = api.key(Scope.ADMIN, Scope.PII)
    answer = api.post("/api/erasures", json={"senders": [sender(dataset)]}, headers=eraser)
    assert answer.status_code == 200, answer.text


def by_retention(api: Api, dataset: str) -> None:
    url = api.services.configuration.database.database_url
    assert url is not None
    catalogue = PostgresCatalogue(url.get_secret_value())
    days = (datetime.now(UTC) - datetime.fromtimestamp(NOON / 1000, UTC)).days - 1
    catalogue.apply(SetRetention(dataset_id=dataset, days=days))
    removed = {a.dataset_id: a.examples for a in apply_retention(url.get_secret_value(), catalogue)}
    catalogue.close()
    assert removed[dataset] == 2


def with_the_dataset(api: Api, dataset: str) -> None:
    answer = api.delete(f"{DATASETS}/{dataset}?confirm={dataset}")
    assert (answer.status_code, answer.json()) == (200, {"examples": 3})


def shown(api: Api, dataset: str) -> list[Any]:
    """Return what there is to review: the cards, or in files the flagged examples."""
    url = api.services.configuration.database.database_url
    if url is None:
        answer = api.get(f"{DATASETS}/{dataset}/examples?tag=needs_review").json()
        return sorted(e["input"] for e in answer) if isinstance(answer, list) else []
    sql = "SELECT text FROM review_card WHERE dataset_id = %s ORDER BY text"
    return [text for (text,) in tables.query(url.get_secret_value(), sql, dataset)]


@pytest.mark.parametrize(
    ("delete", "left"),
    [
        (in_bulk, ["keep this"]),
        (by_erasure, ["keep this"]),
        (with_the_dataset, []),
    ],
)
def test_what_is_deleted_is_not_reviewed(
    api: Api, eventually: Eventually, delete: Delete, left: list[str]
) -> None:
    assert shown_after(delete, api, eventually) == left


# Files know no retention.
@pytest.mark.parametrize("api", ["postgres"], indirect=True)
def test_what_is_past_its_retention_is_not_reviewed(api: Api, eventually: Eventually) -> None:
    assert shown_after(by_retention, api, eventually) == ["keep this"]


def shown_after(delete: Delete, api: Api, eventually: Eventually) -> list[Any]:
    """Return what is left to review when two of three messages are deleted."""
    dataset = f"ds-{uuid.uuid4().hex[:12]}"
    unsure = {"datasetId": dataset, "confidence": 0.4}
    gone = [
        conversation(n, phoneNumber=sender(dataset), messageText=f"forget this {n}", **unsure)
        for n in range(2)
    ]
    recent = round(datetime.now(UTC).timestamp() * 1000)
    kept = conversation(2, messageText="keep this", **unsure)
    assert api.log(*gone, {**kept, "timestamp": recent}).status_code == 200
    eventually(lambda: len(shown(api, dataset)) == 3, 20, "all are shown")

    delete(api, dataset)

    return shown(api, dataset)
