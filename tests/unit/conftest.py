"""Loggers on a shelf, and spools in the test's own folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from intentloop_producer import ConversationLogger, LoggerSettings
from intentloop_sink.spool import Spool
from support.loggers import Make, delivery_threads
from support.shelf import Shelf
from support.spools import OpenSpool


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment in which nothing is set that a logger reads but where its journal is."""
    ours = ("ADMIN_", "BATCH_", "CONFIDENCE_", "CONVERSATION_", "INTENTLOOP_", "KAFKA_")
    for name in [*os.environ]:
        if name.startswith(ours):
            monkeypatch.delenv(name)
    monkeypatch.setenv("INTENTLOOP_JOURNAL_DIR", str(tmp_path / "journal"))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which loggers keep their journals."""
    folder = tmp_path / "journal"
    monkeypatch.setenv("INTENTLOOP_JOURNAL_DIR", str(folder))
    return folder


@pytest.fixture
def shelf() -> Shelf:
    """Where the loggers that a test makes send to."""
    return Shelf()


@pytest.fixture
def make(shelf: Shelf) -> Iterator[Make]:
    """A function that makes loggers, which are closed after the test."""
    made: list[ConversationLogger] = []

    def make(destination: Shelf = shelf, **settings: Any) -> ConversationLogger:
        made.append(ConversationLogger(LoggerSettings(**settings), route=destination.route()))
        return made[-1]

    yield make
    for logger in made:
        logger.close(0.1)
    # What one that is late still says would appear in the next test.
    for thread in delivery_threads():
        thread.join(10)


@pytest.fixture
def open_spool(tmp_path: Path) -> Iterator[OpenSpool]:
    """A function that opens spools, which are closed after the test."""
    spools: list[Spool] = []

    def make(writer: str = "w", **options: Any) -> Spool:
        spools.append(Spool(tmp_path, writer, **options))
        return spools[-1]

    yield make
    for spool in spools:
        spool.close()
