"""A bot installs the wheel without extras, owns modules with our folders' names, and logs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.topic_reader import read_events

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
UV = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")

BOT = """
import admin, producer, schemas, sink
from intentloop_producer import ConversationLogger

assert all(module.OWNER == "the bot" for module in (admin, producer, schemas, sink))
with ConversationLogger() as conversations:
    assert conversations.log(
        phone_number="+15550126", message_text="hello", intent="greet", confidence=0.99
    )
assert conversations.counts.delivered == 1, conversations.counts
"""
OWN_MODULES = ["schemas.py", "producer.py", "admin/__init__.py", "sink/__init__.py"]


def run(*command: object, folder: Path = ROOT, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    assert UV, "uv is missing: run `make install`"
    run(UV, "build", "--quiet", "--wheel", "--out-dir", folder)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of a bot that has installed the wheel and nothing else."""
    environment = tmp_path_factory.mktemp("bot") / "venv"
    run(UV, "venv", "--quiet", "--python", sys.executable, environment)
    interpreter = environment / "bin" / "python"
    lock = ROOT / "requirements.lock"
    run(UV, "pip", "install", "--quiet", "--python", interpreter, "--constraint", lock, wheel)
    return interpreter


@pytest.fixture
def bot(tmp_path: Path) -> Path:
    for name in OWN_MODULES:
        module = tmp_path / name
        module.parent.mkdir(exist_ok=True)
        module.write_text('OWNER = "the bot"\n')
    program = tmp_path / "bot.py"
    program.write_text(BOT)
    return program


def distribution(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower()


def test_the_wheel_holds_only_packages_that_carry_the_project_s_name(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert all(name.startswith("intentloop") for name in names)
    packages = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert {f"{package}/py.typed" for package in packages} <= set(names)
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_without_extras_only_the_logger_s_dependencies_are_installed(python: Path) -> None:
    listed = json.loads(run(UV, "pip", "list", "--python", python, "--format", "json"))
    installed = {package["name"] for package in listed}
    base = {distribution(requirement) for requirement in PROJECT["dependencies"]}
    extras = {
        distribution(requirement)
        for extra in PROJECT["optional-dependencies"].values()
        for requirement in extra
    }
    assert base | {"intentloop"} <= installed
    assert not extras & installed


def test_a_bot_with_modules_of_the_same_names_logs(
    kafka: Any, make_topic: Callable[..., str], python: Path, bot: Path
) -> None:
    topic = make_topic(partitions=1)
    kafka_here = {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "INTENTLOOP_TOPIC": topic}
    run(python, bot, folder=bot.parent, PYTHONPATH="", **kafka_here)
    [event] = read_events(kafka.bootstrap_servers, topic)
    assert (event.phone_number, event.message_text) == ("+15550126", "hello")


def test_the_command_says_which_extra_it_needs(python: Path) -> None:
    command = subprocess.run(
        [python.with_name("intentloop"), "doctor"], capture_output=True, text=True, check=False
    )
    assert command.returncode == 1
    assert "pip install 'intentloop[worker]'" in command.stderr
