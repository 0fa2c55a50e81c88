"""What the documents show works: commands exist, links lead somewhere, the example runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

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
    group: Any = get_command(app)
    commands = set(group.list_commands(None))
    shown = re.findall(r"`intentloop ([a-z]+)", TEXTS[name])
    shown += re.findall(r"^intentloop ([a-z]+)", TEXTS[name], re.MULTILINE)

    assert set(shown) <= commands


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", TEXTS[name])
    folder = (ROOT / name).parent

    for link in links:
        assert link.startswith("https://") or (folder / link).exists(), link


@pytest.mark.parametrize("name", TEXTS)
def test_the_options_that_are_shown_exist(name: str) -> None:
    for line in re.findall(r"(?:^|`)intentloop ([^`#\n]+)", TEXTS[name], re.MULTILINE):
        command = leaf(line.split())
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"(?<!\S)--[a-z-]+", line)) <= known | {"--help"}, line


def leaf(words: list[str]) -> Any:
    """Return the command that a line runs."""
    command: Any = get_command(app)
    for word in words:
        if not hasattr(command, "get_command"):
            break
        command = command.get_command(None, word) or command
    return command


def test_every_alarm_has_its_remedy() -> None:
    rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())
    alarms = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}

    remedies = set(re.findall(r"^### (\w+)$", TEXTS["docs/operations.md"], re.MULTILINE))
    assert remedies == alarms


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
