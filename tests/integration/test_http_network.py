"""The logger over HTTP, and bad networks: silence, strangers, addresses of nobody, TLS."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from intentloop_producer import http_client
from support import backend as serving
from support.backend import Backend
from support.http_loggers import PATIENCE, log
from support.journals import numbers
from support.loggers import Make


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
