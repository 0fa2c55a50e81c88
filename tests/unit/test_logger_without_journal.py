"""A bot whose journal cannot be written or is switched off: it goes on, and warns at most once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from intentloop_producer import Counts
from support.journals import log, numbers
from support.loggers import Make
from support.shelf import Shelf


def test_where_nothing_can_be_written_it_says_so_once_and_goes_on(
    make: Make, shelf: Shelf, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root.touch()
    logger = make()
    for number in range(3):
        log(logger, number)
        assert logger.flush(10) == 0
    assert shelf.texts() == numbers(3)
    assert logger.counts == Counts(3, 3, 0, 0, 0, 0, unjournaled=3)
    [warning] = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert str(root) in warning
    assert "INTENTLOOP_JOURNAL_DIR" in warning


READ_ONLY = """
import logging, sys
sys.path.insert(0, {tests!r})
logging.basicConfig(format="%(levelname)s %(message)s")
from intentloop_producer import ConversationLogger, LoggerSettings
from support.shelf import Shelf
import resource
# Later another user may not read where they lie.
import intentloop_producer.delivery
{limit}
shelf = Shelf()
with ConversationLogger(LoggerSettings(), route=shelf.route()) as logger:
    for number in range({count}):
        assert logger.log(phone_number="1", message_text=str(number), intent="a", confidence=1.0)
        if number % 10 == 0:
            logger.flush(10)
assert shelf.texts() == [str(number) for number in range({count})]
print(logger.counts.delivered, logger.counts.unjournaled)
"""


def run_limited(limit: str, count: int, **options: Any) -> subprocess.CompletedProcess[str]:
    script = READ_ONLY.format(tests=str(Path(__file__).parents[1]), limit=limit, count=count)
    return subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, **options
    )


def test_in_a_read_only_folder_a_bot_works_with_one_warning(root: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    # Root may write everywhere.
    limit = "import os; os.geteuid() or os.seteuid(65534)"
    done = run_limited(limit, 30, cwd=tmp_path)
    assert done.stdout == "30 30\n", done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("WARNING The journal cannot be written: [Errno 13] Permission denied")


def test_on_a_full_disk_a_bot_works_with_one_warning(root: Path) -> None:
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, resource.RLIM_INFINITY))"
    done = run_limited(limit, 200)
    delivered, unjournaled = map(int, done.stdout.split())
    assert delivered == 200
    assert 100 < unjournaled < 200
    [line] = done.stderr.splitlines()
    assert line.startswith("WARNING The journal cannot be written: [Errno 27] File too large")


@pytest.mark.parametrize("settings", [{"enabled": False}, {"journal_max_mb": 0}])
def test_switched_off_it_makes_no_file(
    make: Make, shelf: Shelf, root: Path, settings: dict[str, Any]
) -> None:
    logger = make(**settings)
    log(logger, "hello")
    logger.close()
    assert not root.exists()
    assert logger.counts.delivered == len(shelf.taken) == int("enabled" not in settings)
