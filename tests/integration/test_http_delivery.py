"""The logger over HTTP: few requests, and each message once, whoever crashes meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from intentloop_producer import Counts
from support import backend as serving
from support.backend import KEY, Backend
from support.http_loggers import PATIENCE, log
from support.journals import numbers
from support.loggers import Make


def test_ten_messages_make_one_request_with_the_key_and_the_line_in_the_log(
    backend: Backend, make: Make, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    logger = make()
    for number in range(10):
        confidence = 0.4 if number in (3, 7) else 0.95
        logger.log(
            phone_number="+919876543210", message_text=str(number), intent="greet",
            confidence=confidence,
        )  # fmt: skip
    line = "Sent 10 conversation logs to Admin Backend (2 flagged for review)"
    eventually(lambda: line in caplog.messages)
    assert backend.posts == [10]
    assert backend.texts() == numbers(10)
    [headers] = backend.headers
    assert headers["x-api-key"] == KEY
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("intentloop/")
    assert logger.counts == Counts(10, 10, 0, 0, 0, 0)


def test_a_thousand_messages_make_at_most_101_requests_on_one_connection(
    backend: Backend, make: Make
) -> None:
    logger = make()
    for number in range(1_000):
        log(logger, number)
        time.sleep(0.0005)
    assert logger.flush(PATIENCE) == 0
    print(f"1,000 messages: {len(backend.posts)} requests")
    assert len(backend.posts) <= 101
    assert backend.texts() == numbers(1_000)
    assert backend.connections == 1


def test_what_is_less_than_a_batch_leaves_in_time(
    backend: Backend, make: Make, eventually: Any
) -> None:
    logger = make(batch_seconds=0.3)
    log(logger, "alone")
    start = time.monotonic()
    eventually(backend.texts)
    assert time.monotonic() - start > 0.2


def test_a_path_before_the_api_s_own_is_kept(backend: Backend, make: Make) -> None:
    paths = []
    answer = backend.answer
    backend.answer = lambda path, *more: paths.append(path) or answer(path[7:], *more)  # type: ignore[method-assign]
    logger = make(f"{backend.url}/prefix/")
    log(logger, "hello")
    assert logger.flush(PATIENCE) == 0
    assert paths == ["/prefix/api/training/conversations/bulk"]


def test_answers_that_are_lost_make_no_duplicates(backend: Backend, make: Make) -> None:
    for _ in range(3):
        backend.script += [serving.loses_its_answer, Backend.take]
    logger = make()
    for number in range(100):
        log(logger, number)
        if number % 10 == 9:
            logger.flush(0.01)
    assert logger.flush(PATIENCE) == 0
    assert sum(backend.posts) > 100
    assert backend.texts() == numbers(100)
    assert logger.counts == Counts(100, 100, 0, 0, 0, 0)


BOT = """
import os, sys, time
from intentloop_producer import ConversationLogger

logger = ConversationLogger()
history = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for number in range(1_000_000):
    text = f"{sys.argv[2]} {number}"
    if logger.log(phone_number="+15550100", message_text=text, intent="greet", confidence=0.9):
        os.write(history, f"{text}\\n".encode())
    time.sleep(0.0005)
"""


@pytest.mark.fault
def test_bots_are_killed_and_the_backend_crashes_and_nothing_is_lost_or_stored_twice(
    backend: Backend, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Any
) -> None:
    environment = {
        "ADMIN_BACKEND_URL": backend.url,
        "ADMIN_BACKEND_API_KEY": KEY,
        "INTENTLOOP_JOURNAL_DIR": str(tmp_path / "journal"),
    }
    accepted: list[list[str]] = []
    for life in range(3):
        history = tmp_path / f"history-{life}"
        backend.script += [Backend.take, serving.loses_its_answer] * 5
        bot = subprocess.Popen(
            [sys.executable, "-c", BOT, str(history), str(life)], env=environment
        )

        def said(history: Path = history) -> list[str]:
            return history.read_text().splitlines() if history.exists() else []

        eventually(lambda: len(said()) > 500, timeout=PATIENCE)
        backend.stop()
        before = len(said())
        eventually(lambda before=before: len(said()) > before + 500, timeout=PATIENCE)
        if life != 1:
            backend.start()
            eventually(lambda life=life: any(t.startswith(f"{life} ") for t in backend.texts()), 30)
        bot.kill()
        bot.wait(10)
        accepted.append(said())
        if life == 1:
            backend.start()

    successor = make()
    eventually(lambda: successor.counts.recovered > 0 or backend.texts()[-1:] == accepted[2][-1:])
    assert successor.flush(PATIENCE) == 0
    stored = backend.texts()
    assert len(stored) == len(set(stored)) == len({e.event_id for e in backend.events()})
    lost = 0
    for life, texts in enumerate(accepted):
        arrived = [text for text in stored if text.startswith(f"{life} ")]
        assert arrived == texts[: len(arrived)]
        lost += len(texts) - len(arrived)
    print(f"killed 3 times: {sum(map(len, accepted))} accepted, {lost} lost in the last moments")
    assert lost < 300


def test_what_waits_for_the_backend_lies_apart_from_any_topic_s_and_without_the_key(
    backend: Backend, make: Make, tmp_path: Path
) -> None:
    backend.stop()
    logger = make()
    log(logger, "hello")
    logger.close(0.2)
    [segment] = (tmp_path / "journal").glob("*/*/*.jsonl")
    assert segment.parent.parent.name == "+http"
    assert KEY not in segment.read_text()
    assert json.loads(segment.read_text())["event"]["messageText"] == "hello"
