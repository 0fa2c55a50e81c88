"""Training jobs over HTTP, on Postgres and on files."""

from __future__ import annotations

import pytest

from intentloop_training.jobs import JobKind
from support.api import JOBS, Api, conversation

NEW = {"kind": "nlu-train", "datasetId": "ds-mine"}


@pytest.fixture(autouse=True)
def dataset(api: Api) -> None:
    api.log(conversation(datasetId="ds-mine"))


def test_a_job_is_accepted_and_can_be_followed(api: Api) -> None:
    answer = api.post(JOBS, json=NEW)

    assert answer.status_code == 202
    job = answer.json()
    assert (job["kind"], job["datasetId"], job["status"]) == ("nlu-train", "ds-mine", "PENDING")
    assert api.get(f"{JOBS}/{job['id']}").json() == job
    assert api.get(JOBS, params={"datasetId": "ds-mine"}).json()[0] == job


def test_a_job_is_cancelled_once_and_retried(api: Api) -> None:
    job = f"{JOBS}/{api.post(JOBS, json=NEW).json()['id']}"
    assert api.post(f"{job}/retry").status_code == 409

    assert api.post(f"{job}/cancel").json()["status"] == "CANCELLED"

    again = api.post(f"{job}/cancel")
    assert again.status_code == 409
    assert "cannot be cancelled" in again.json()["detail"]
    retried = api.post(f"{job}/retry")
    assert retried.status_code == 202
    assert f"{JOBS}/{retried.json()['retryOf']}" == job


def test_what_cannot_be_trained_is_refused_with_what_to_do(api: Api) -> None:
    missing = api.post(JOBS, json={**NEW, "datasetId": "ds-nowhere"})
    assert missing.status_code == 404
    assert "GET /api/training/datasets" in missing.json()["detail"]

    unknown = api.post(JOBS, json={**NEW, "kind": "dance"})
    assert unknown.status_code == 422
    assert JobKind.NLU_TRAIN in unknown.json()["detail"]

    nowhere = api.get(f"{JOBS}/job-0")
    assert nowhere.status_code == 404
    assert "GET /api/training/jobs" in nowhere.json()["detail"]
