"""Erasures and retention over HTTP, on Postgres and on files."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from intentloop_admin.security.scopes import Scope
from support.api import DATASETS, Api, configuration, conversation, running_api

ERASURES = "/api/erasures"
BELA = "+15550100"


@pytest.fixture
def dataset() -> str:
    return f"ds-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def asha() -> str:
    """A sender of the test's own."""
    return f"+91{uuid.uuid4().int % 10**10:010d}"


@pytest.fixture
def eraser(api: Api) -> dict[str, str]:
    return api.key(Scope.ADMIN, Scope.PII)


def examples(api: Api, dataset: str) -> list[dict[str, Any]]:
    answer = api.get(f"{DATASETS}/{dataset}/examples", headers=api.key(Scope.READ, Scope.PII))
    assert answer.status_code == 200, answer.text
    return answer.json()


def log_both(api: Api, dataset: str, asha: str) -> list[dict[str, Any]]:
    logged = [
        conversation(n, datasetId=dataset, phoneNumber=(asha, BELA)[n % 2], eventId=f"e-{n}")
        for n in range(6)
    ]
    assert api.log(*logged).status_code == 200
    return logged


def test_an_erased_sender_is_gone_and_no_retry_brings_it_back(
    api: Api, dataset: str, asha: str, eraser: dict[str, str]
) -> None:
    logged = log_both(api, dataset, asha)

    answer = api.post(ERASURES, json={"senders": [asha]}, headers=eraser)

    assert answer.status_code == 200, answer.text
    report = answer.json()
    assert report["isComplete"]
    assert report["erasedAt"]
    assert (report["places"][0]["found"], report["places"][0]["erased"]) == (3, 3)
    assert report["remains"]
    assert asha not in answer.text
    assert {e["sender"] for e in examples(api, dataset)} == {BELA}
    assert api.get(f"{DATASETS}/{dataset}").json()["size"] == 3
    retried = api.log(*logged)
    assert retried.json()["count"] == 6, "a retry gets the answer that it would have got before"
    assert {e["sender"] for e in examples(api, dataset)} == {BELA}

    late = conversation(0, datasetId=dataset, phoneNumber=asha, timestamp=4_000_000_000_000)
    assert api.log(late).status_code == 200
    assert {e["sender"] for e in examples(api, dataset)} == {asha, BELA}


def test_a_dry_run_only_looks(api: Api, dataset: str, asha: str, eraser: dict[str, str]) -> None:
    log_both(api, dataset, asha)

    report = api.post(ERASURES, json={"senders": [asha], "dryRun": True}, headers=eraser).json()

    assert report["erasedAt"] is None
    assert (report["places"][0]["found"], report["places"][0]["erased"]) == (3, 0)
    assert {e["sender"] for e in examples(api, dataset)} == {asha, BELA}


@pytest.mark.parametrize("scopes", [[Scope.ADMIN], [Scope.PII], [Scope.PII, Scope.READ]])
def test_erasing_needs_both_rights(api: Api, asha: str, scopes: list[Scope]) -> None:
    answer = api.post(ERASURES, json={"senders": [asha]}, headers=api.key(*scopes))

    assert answer.status_code == 403
    assert "scope" in answer.json()["detail"]


def test_a_key_for_one_dataset_erases_nobody(api: Api, asha: str, dataset: str) -> None:
    key = api.key(Scope.ADMIN, Scope.PII, datasets=[dataset])

    assert api.post(ERASURES, json={"senders": [asha]}, headers=key).status_code == 403


@pytest.mark.parametrize(
    "body", [{}, {"senders": []}, {"senders": [""]}, {"senders": ["x" * 65]}, {"sender": "x"}]
)
def test_whom_to_erase_has_to_be_said(
    api: Api, eraser: dict[str, str], body: dict[str, Any]
) -> None:
    assert api.post(ERASURES, json=body, headers=eraser).status_code == 422


def test_retention_is_set_and_read(api: Api, dataset: str, asha: str) -> None:
    log_both(api, dataset, asha)
    address = f"{DATASETS}/{dataset}/retention"
    if api.services.storage.mode == "files":
        for answer in (api.get(address), api.put(address, json={"days": 90})):
            assert answer.status_code == 409
            assert "DATABASE_URL" in answer.json()["detail"]
        return

    unset = {"datasetId": dataset, "days": None, "horizon": None}
    assert api.get(address).json() == unset
    assert api.put(address, json={"days": 90}).json() == {**unset, "days": 90}
    assert api.get(address).json() == {**unset, "days": 90}
    assert api.put(address, json={"days": None}).json() == unset
    for wrong in ({}, {"days": 0}, {"days": "90"}, {"days": 36_501}):
        assert api.put(address, json=wrong).status_code == 422
    assert api.put(f"{DATASETS}/ds-none/retention", json={"days": 1}).status_code == 404


def test_files_forget_the_sender_for_good(tmp_path: Path, asha: str) -> None:
    configured = configuration(None, tmp_path / "fallback")
    with running_api(configured) as api:
        logged = log_both(api, "ds-a", asha)
    other = configuration(None, tmp_path / "fallback")
    with running_api(other) as api:
        log_both(api, "ds-b", asha)
        eraser = api.key(Scope.ADMIN, Scope.PII)
        report = api.post(ERASURES, json={"senders": [asha]}, headers=eraser).json()
        assert report["places"][0]["erased"] == 6

    for path in (tmp_path / "fallback").rglob("*"):
        assert path.is_dir() or asha.encode() not in path.read_bytes(), path
    with running_api(configuration(None, tmp_path / "fallback")) as api:
        assert api.log(*logged).status_code == 200
        assert {e["sender"] for e in examples(api, "ds-a")} == {BELA}
        assert api.get(f"{DATASETS}/ds-b").json()["size"] == 3
    for path in (tmp_path / "fallback").rglob("*"):
        assert path.is_dir() or asha.encode() not in path.read_bytes(), path
