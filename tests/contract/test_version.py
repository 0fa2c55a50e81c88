"""One version, wherever it is written down."""

from __future__ import annotations

import tomllib
from pathlib import Path

from intentloop_schemas.version import VERSION

ROOT = Path(__file__).parents[2]


def test_the_code_names_the_project_s_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION
