"""What an operator asks over HTTP: statistics, promises, health, and ids to look for."""

from __future__ import annotations

import statistics
import time
from typing import Any

import pytest

from intentloop_schemas import LoggerReport
from support.api import NOON, STATS, Api, conversation


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


def test_request_ids_come_back(api: Api) -> None:
    assert api.get("/healthz", headers={"X-Request-ID": "abc-1"}).headers["X-Request-ID"] == "abc-1"
    made = api.get("/healthz", headers={"X-Request-ID": "<script>"}).headers["X-Request-ID"]
    assert made.isalnum()
