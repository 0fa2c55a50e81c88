"""What the API tells Prometheus of what only the store knows, on Postgres and on files."""

from __future__ import annotations

import time
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from support.api import Api, conversation

DAY_MS = 86_400_000


def samples(api: Api) -> dict[str, float]:
    families = text_string_to_metric_families(api.get("/metrics").text)
    return {
        ":".join([sample.name, *sample.labels.values()]): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith(("intentloop_logger", "intentloop_confidence"))
    }


def report(now: int, **counts: Any) -> dict[str, Any]:
    return {
        "loggerId": f"logger-{now}",
        "startedAt": now - 60_000,
        "reportedAt": now,
        "accepted": 100,
        "recovered": 0,
        "delivered": 95,
        "invalid": 1,
        "failed": 0,
        "dropped": 4,
        "logP99Us": 7.5,
        "version": "0.1.0",
        "transport": "http",
        **counts,
    }


def test_drift_and_what_loggers_report(api: Api) -> None:
    now = int(time.time() * 1000)
    for start, confidence in ((now - 4 * DAY_MS, 0.95), (now - 60_000, 0.4)):
        events = [
            conversation(
                datasetId="ds-drift",
                timestamp=start + number,
                confidence=round(confidence - number / 2_000, 4),
                phoneNumber=f"+1555{number:07d}",
            )
            for number in range(200)
        ]
        assert api.log(*events).status_code == 200
    assert api.post("/api/loggers/reports", json=report(now)).is_success

    shown = samples(api)

    assert shown["intentloop_confidence_psi:ds-drift"] > 0.25
    assert shown["intentloop_logger_conversations:delivered"] == 95
    assert shown["intentloop_logger_conversations:dropped"] == 4
    assert shown["intentloop_logger_log_p99_seconds"] == 7.5e-6
