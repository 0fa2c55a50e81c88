"""What the documents show works: commands exist, links lead somewhere, the example runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from intentloop_admin import reference
from intentloop_cli.app import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text() for path in DOCUMENTS}
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("name", TEXTS)
def test_make_targets_exist(name: str) -> None:
    shown = re.findall(r"`make ([a-z-]+)", TEXTS[name])
    shown += re.findall(r"^make ([a-z-]+)", TEXTS[name], re.MULTILINE)

    assert set(shown) <= TARGETS


@pytest.mark.parametrize("name", TEXTS)
def test_intentloop_commands_exist(name: str) -> None:
    commands = set(get_command(app).commands)  # type: ignore[attr-defined]
    shown = re.findall(r"`intentloop ([a-z]+)", TEXTS[name])
    shown += re.findall(r"^intentloop ([a-z]+)", TEXTS[name], re.MULTILINE)

    assert set(shown) <= commands


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", TEXTS[name])
    folder = (ROOT / name).parent

    for link in links:
        assert link.startswith("https://") or (folder / link).exists(), link


def test_the_options_that_the_readme_shows_exist() -> None:
    shown = re.findall(r"^intentloop ([a-z ]+?) (--[a-z-]+)", TEXTS["README.md"], re.MULTILINE)

    assert shown
    for command, option in shown:
        described = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"})
        assert option in re.sub(r"\x1b\[[0-9;]*m", "", described.stdout)


def test_the_readme_s_example_runs_in_a_bot_without_kafka() -> None:
    (example,) = blocks(TEXTS["README.md"], "python")
    bot = subprocess.run(
        [sys.executable, "-c", example],
        check=False,
        env={},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert bot.returncode == 0, bot.stderr
    assert "KAFKA_BOOTSTRAP_SERVERS" in bot.stderr


def test_the_readme_fits_on_two_screens() -> None:
    assert len(TEXTS["README.md"].splitlines()) <= 100


def test_the_table_of_requests_is_the_api_s() -> None:
    assert reference.updated(TEXTS["docs/api.md"]) == TEXTS["docs/api.md"], "run `make docs`"
