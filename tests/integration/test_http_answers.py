"""The logger over HTTP, and bad answers: wrong keys, invalid items, redirects, limits."""

from __future__ import annotations

import time
from typing import Any

import pytest

from intentloop_producer import Counts
from support import backend as serving
from support.backend import KEY, Backend
from support.http_loggers import PATIENCE, log
from support.journals import numbers
from support.loggers import Make


def test_invalid_items_fail_once_with_their_reason_and_the_others_arrive(
    backend: Backend, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    def judge(backend: Backend, items: list[Any]) -> serving.Reply:
        wrong = [{"index": 1, "error": "datasetId: +919876543210 may not be written to"}]
        backend.take([item for index, item in enumerate(items) if index != 1])
        return backend.verdict(len(items), wrong)

    backend.script.append(judge)
    logger = make()
    for number in range(3):
        log(logger, number)
    assert logger.flush(PATIENCE) == 0
    logger.close()
    assert backend.texts() == ["0", "2"]
    assert backend.posts == [3]
    assert logger.counts == Counts(3, 2, 0, 1, 0, 0)
    said = "Conversations not delivered to Admin Backend: 1. datasetId: +91******3210 may"
    assert said in caplog.text
    assert "+919876543210" not in caplog.text


def test_a_wrong_key_is_said_and_what_waits_arrives_when_it_is_put_right(
    backend: Backend, make: Make, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    wrong = make(key="il_wrong_hunter2")
    log(wrong, "hello")
    assert wrong.flush(0.5) == 1
    eventually(lambda: "401 Unauthorized (no such key): check ADMIN_BACKEND_API_KEY" in caplog.text)
    wrong.close(0.1)
    assert backend.texts() == []
    assert "hunter2" not in caplog.text

    right = make()
    eventually(lambda: right.counts.recovered == 1)
    assert right.flush(PATIENCE) == 0
    assert backend.texts() == ["hello"]


def test_without_a_key_it_asks_without_one(
    backend: Backend, make: Make, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    logger = make(key=None)
    log(logger, "hello")
    logger.flush(0.5)
    eventually(lambda: "check ADMIN_BACKEND_API_KEY" in caplog.text)
    assert "x-api-key" not in backend.headers[0]


def test_a_key_that_the_backend_repeats_does_not_show(
    backend: Backend, make: Make, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    backend.acts = serving.says(403, {"detail": f"the key {KEY} may not"})
    logger = make()
    log(logger, "hello")
    logger.flush(0.5)
    eventually(lambda: "403 Forbidden (the key <key> may not)" in caplog.text)
    assert KEY not in caplog.text


def test_a_redirect_is_not_followed_and_the_key_does_not_leave(
    backend: Backend, make: Make, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    elsewhere = Backend()
    backend.acts = serving.says(307, location=f"{elsewhere.url}{serving.BULK}")
    logger = make()
    log(logger, "hello")
    assert logger.flush(0.5) == 1
    eventually(lambda: f"redirects to {elsewhere.url}" in caplog.text)
    assert elsewhere.headers == []
    elsewhere.stop()


def test_a_login_page_with_status_200_is_not_taken_for_success(
    backend: Backend, make: Make, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    backend.acts = serving.says(200, b"<html>Welcome to this network</html>")
    logger = make()
    log(logger, "hello")
    assert logger.flush(0.5) == 1
    eventually(lambda: "is not that of intentloop: check ADMIN_BACKEND_URL" in caplog.text)


def test_a_limit_on_the_size_of_requests_costs_nothing(backend: Backend, make: Make) -> None:
    def small(backend: Backend, items: list[Any]) -> serving.Reply:
        return backend.take(items) if len(items) <= 7 else serving.Reply(413, {"title": "large"})

    backend.acts = small
    logger = make()
    for number in range(200):
        log(logger, number)
    assert logger.flush(PATIENCE) == 0
    assert backend.texts() == numbers(200)


def test_retry_after_is_honoured(backend: Backend, make: Make) -> None:
    backend.script.append(serving.says(503, {}, Retry_After="2"))
    logger = make()
    log(logger, "hello")
    start = time.monotonic()
    assert logger.flush(PATIENCE) == 0
    assert time.monotonic() - start > 2
