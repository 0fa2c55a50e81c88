"""docs/promises.md names code and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    line
    for line in (ROOT / "docs/promises.md").read_text().splitlines()
    if line.startswith("| ") and "`" in line
]


def test_the_table_is_there() -> None:
    assert len(ROWS) > 5


@pytest.mark.parametrize("row", ROWS)
def test_every_promise_names_its_code_and_its_test(row: str) -> None:
    promise, code, test = (cell.strip() for cell in row.strip("|").split("|"))
    assert promise
    for cell, folder in ((code, ""), (test, "tests/")):
        paths = re.findall(r"`([^`]+)`", cell)
        assert paths
        for path in paths:
            assert path.startswith(folder)
            assert (ROOT / path).is_file(), path
