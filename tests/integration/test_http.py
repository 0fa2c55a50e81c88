"""The logger over HTTP, on real sockets: bad networks, bad answers, wrong keys, TLS."""

from __future__ import annotations

import json
import logging
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import SecretStr

from intentloop_producer import (
    BackendSettings,
    ConversationLogger,
    Counts,
    LoggerSettings,
    http_client,
)
from support import backend as serving
from support.backend import KEY, Backend

PATIENCE = 60
Make = Callable[..., ConversationLogger]


@pytest.fixture
def backend() -> Iterator[Backend]:
    backend = Backend()
    yield backend
    backend.stop()


@pytest.fixture
def make(backend: Backend, caplog: pytest.LogCaptureFixture) -> Iterator[Make]:
    caplog.set_level(logging.INFO, "intentloop.conversation")
    made: list[ConversationLogger] = []

    def make(url: str = "", key: str | None = KEY, **settings: Any) -> ConversationLogger:
        where = BackendSettings(url=url or backend.url, api_key=SecretStr(key) if key else None)
        made.append(ConversationLogger(LoggerSettings(**settings), backend=where))
        return made[-1]

    yield make
    for logger in made:
        logger.close(0.1)


def log(logger: ConversationLogger, text: object, sender: str = "+919876543210") -> bool:
    return logger.log(
        phone_number=sender, message_text=str(text), intent="track_order", confidence=0.9
    )


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


# Batches


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


# Answers


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


# Networks


def test_a_connection_that_the_backend_closed_meanwhile_is_no_trouble(
    backend: Backend, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    logger = make()
    for number in range(3):
        log(logger, number)
        assert logger.flush(PATIENCE) == 0
        backend.stop()
        backend.start()
    assert backend.texts() == numbers(3)
    assert "cannot be used" not in caplog.text


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


def test_while_the_backend_is_silent_messages_reach_the_disk_and_log_stays_quick(
    backend: Backend, make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    caplog: pytest.LogCaptureFixture, eventually: Any,
) -> None:  # fmt: skip
    caplog.set_level(logging.WARNING, "intentloop.conversation")
    monkeypatch.setattr(http_client, "EXCHANGE_SECONDS", 5.0)
    backend.script.append(serving.is_silent)
    logger = make()
    log(logger, "first")
    logger.flush(0.1)
    costs = []
    for number in range(5_000):
        start = time.perf_counter()
        assert log(logger, number)
        costs.append(time.perf_counter() - start)

    def on_disk() -> int:
        return sum(f.read_bytes().count(b"\n") for f in (tmp_path / "journal").glob("*/*/*.jsonl"))

    eventually(lambda: on_disk() == 5_001, timeout=4)
    assert backend.texts() == []
    assert sorted(costs)[int(len(costs) * 0.99)] < 0.01
    assert logger.flush(PATIENCE) == 0
    assert "closed the connection without an answer" in caplog.text
    assert backend.texts() == ["first", *numbers(5_000)]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://127.0.0.1:1", "Connection refused"),
        ("http://nowhere.invalid", "its name is not known: check ADMIN_BACKEND_URL"),
        (f"http://{'x' * 70}.example", "label"),
    ],
)
def test_an_address_where_nobody_is_is_said(
    make: Make, caplog: pytest.LogCaptureFixture, address: str, says: str, eventually: Any
) -> None:
    logger = make(address)
    log(logger, "hello")
    assert logger.flush(0.2) == 1
    eventually(lambda: "Admin Backend cannot be used, conversations wait: " in caplog.text)
    assert says in caplog.text
    assert logger.counts.queued == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"",
        b"\x00" * 9,
    ],
)
def test_what_is_no_http_is_trouble_that_passes(
    make: Make, caplog: pytest.LogCaptureFixture, answer: bytes, eventually: Any
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    line, _ = server.accept()
                except OSError:
                    return
                line.recv(65_536)
                line.sendall(answer)
                line.close()

        threading.Thread(target=serve, daemon=True).start()
        logger = make(f"http://127.0.0.1:{server.getsockname()[1]}")
        log(logger, "hello")
        assert logger.flush(0.3) == 1
        eventually(lambda: "Admin Backend cannot be used, conversations wait: " in caplog.text)


# TLS


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secured(authority: trustme.CA) -> Iterator[Backend]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    backend = Backend(context)
    yield backend
    backend.stop()


def test_over_tls_with_an_authority_that_is_trusted(
    secured: Backend, make: Make, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    with authority.cert_pem.tempfile() as certificates:
        monkeypatch.setenv("SSL_CERT_FILE", certificates)
        logger = make(secured.url)
        for number in range(3):
            log(logger, number)
            assert logger.flush(PATIENCE) == 0
            secured.stop()
            secured.start()
    assert secured.texts() == numbers(3)
    assert "cannot be used" not in caplog.text


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_certificate_that_cannot_be_trusted_is_said_and_the_key_does_not_leave(
    secured: Backend, make: Make, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, host: str, eventually: Any,
) -> None:  # fmt: skip
    trusted = authority if host == "127.0.0.1" else trustme.CA()
    with trusted.cert_pem.tempfile() as certificates:
        monkeypatch.setenv("SSL_CERT_FILE", certificates)
        logger = make(f"https://{host}:{secured.port}")
        log(logger, "hello")
        assert logger.flush(0.5) == 1
        eventually(lambda: "its certificate is not trusted (" in caplog.text)
    assert "set SSL_CERT_FILE" in caplog.text
    assert secured.headers == []


# Restarts

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
