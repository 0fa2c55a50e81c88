"""docker-compose.yml and the Dockerfile, checked without an engine."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from typer.testing import CliRunner

from intentloop_cli import configuration
from intentloop_cli.app import app
from intentloop_devstack import containers

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SERVERS = ("kafka", "postgres")
WATCHERS = ("prometheus", "grafana")
ONE_SHOTS = ("topics", "migrate")
OURS = (*ONE_SHOTS, "worker", "api")
SETTINGS = {
    setting.variable: setting.default.strip("`")
    for part in configuration.PARTS
    for setting in configuration.settings_of(part)
}


def instructions() -> list[list[str]]:
    """The Dockerfile's instructions as [name, arguments], without comments."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    joined = re.sub(r"\\\n", " ", text)
    return [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]


def last(name: str) -> str:
    return next(value for found, value in reversed(instructions()) if found == name)


def interpolated(value: object) -> str:
    """A value as compose reads it when nothing is exported."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value))


def environment(service: str) -> dict[str, str]:
    return {name: interpolated(v) for name, v in SERVICES[service]["environment"].items()}


def test_the_services_are_the_system() -> None:
    assert set(SERVICES) == {*SERVERS, *OURS, *WATCHERS}


def test_every_image_is_pinned_by_a_version() -> None:
    images = [service["image"] for service in SERVICES.values()]
    images += [value.split()[0] for name, value in instructions() if name == "FROM"]
    assert [
        image for image in images if not re.search(r":v?\d+\.\d+(\.\d+)?(-[a-z]+)*$", image)
    ] == []


def test_the_servers_are_those_of_the_local_parts() -> None:
    assert SERVICES["kafka"]["image"] == containers.KAFKA_IMAGE
    assert SERVICES["postgres"]["image"] == containers.POSTGRES_IMAGE


def test_our_image_is_built_here_and_carries_the_project_s_version() -> None:
    for name in OURS:
        assert SERVICES[name]["build"] == "."
        assert SERVICES[name]["image"] == f"intentloop:{PROJECT['project']['version']}"


@pytest.mark.parametrize("name", OURS)
def test_its_variables_are_settings_and_pass_on_their_defaults(name: str) -> None:
    variables = SERVICES[name]["environment"]
    assert set(variables) <= set(SETTINGS)
    for variable, value in variables.items():
        passed_on = re.fullmatch(r"\$\{(\w+):-([^}]*)\}", str(value))
        if passed_on:
            # An empty variable counts as one that is not set.
            default = SETTINGS[variable].replace("none", "")
            assert passed_on.groups() == (variable, default)


def test_the_settings_take_what_the_worker_is_given(monkeypatch) -> None:
    for variable in SETTINGS:
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment("worker").items():
        monkeypatch.setenv(variable, value)
    for part in configuration.PARTS:
        part()


def test_the_worker_reaches_kafka_and_postgres_where_they_are() -> None:
    kafka, postgres = environment("kafka"), environment("postgres")
    given = environment("worker")
    advertised = dict(x.split("://") for x in kafka["KAFKA_ADVERTISED_LISTENERS"].split(","))
    assert given["KAFKA_BOOTSTRAP_SERVERS"] == advertised["INSIDE"] == "kafka:19092"
    url = urlsplit(given["DATABASE_URL"])
    assert (url.hostname, url.port) == ("postgres", 5432)
    assert (url.username, url.password, url.path) == (
        postgres["POSTGRES_USER"],
        postgres["POSTGRES_PASSWORD"],
        "/" + postgres["POSTGRES_DB"],
    )


def test_kafka_is_one_node_in_kraft_mode() -> None:
    kafka = environment("kafka")
    listeners = dict(x.split("://") for x in kafka["KAFKA_LISTENERS"].split(","))
    assert kafka["KAFKA_PROCESS_ROLES"] == "broker,controller"
    node, controller = kafka["KAFKA_CONTROLLER_QUORUM_VOTERS"].split("@")
    assert node == kafka["KAFKA_NODE_ID"]
    assert controller == "kafka" + listeners[kafka["KAFKA_CONTROLLER_LISTENER_NAMES"]]
    protocols = kafka["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")
    assert {protocol.split(":")[0] for protocol in protocols} == set(listeners)
    assert kafka["KAFKA_INTER_BROKER_LISTENER_NAME"] in listeners
    assert kafka["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_data_lies_in_named_volumes_and_ports_on_loopback() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).is_dir() if source[0] == "." else source in COMPOSE["volumes"]
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")
    assert environment("kafka")["KAFKA_LOG_DIRS"] == SERVICES["kafka"]["volumes"][0].split(":")[1]


def test_the_worker_waits_for_what_it_needs_and_one_shots_run_once() -> None:
    assert {name: need["condition"] for name, need in SERVICES["worker"]["depends_on"].items()} == {
        **dict.fromkeys(SERVERS, "service_healthy"),
        **dict.fromkeys(ONE_SHOTS, "service_completed_successfully"),
    }
    for name in ONE_SHOTS:
        assert "restart" not in SERVICES[name]
        assert all(
            n["condition"] == "service_healthy" for n in SERVICES[name]["depends_on"].values()
        )


@pytest.mark.parametrize("name", [*SERVERS, "worker"])
def test_what_keeps_running_has_a_health_check_and_comes_back(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_the_worker_has_more_time_to_leave_than_it_needs() -> None:
    assert int(SERVICES["worker"]["stop_grace_period"].removesuffix("s")) > 10


@pytest.mark.parametrize(
    "command",
    [
        *(SERVICES[name]["command"] for name in OURS),
        SERVICES["worker"]["healthcheck"]["test"][2:],
        json.loads(last("CMD")),
    ],
    ids=" ".join,
)
def test_every_command_exists(command: list[str]) -> None:
    # With --help the arguments before it are parsed, and nothing is done.
    assert CliRunner().invoke(app, [*command, "--help"]).exit_code == 0


def test_the_health_check_calls_the_entry_point() -> None:
    entry_point = SERVICES["worker"]["healthcheck"]["test"][1]
    assert [entry_point] == json.loads(last("ENTRYPOINT"))
    assert entry_point in PROJECT["project"]["scripts"]


def test_the_image_runs_as_an_ordinary_user() -> None:
    names = [name for name, _ in instructions()]
    final_stage = names[len(names) - names[::-1].index("FROM") :]
    assert "USER" in final_stage
    assert last("USER") not in {"root", "0"}
    assert last("STOPSIGNAL") == "SIGTERM"


def test_the_image_holds_the_worker_s_packages_in_their_locked_versions() -> None:
    install = next(value for name, value in instructions() if "uv pip install" in value)
    assert "--constraint requirements.lock" in install
    assert "--verify-hashes" in install
    assert "[worker,admin,training]" in install


def test_the_build_has_all_files_that_the_wheel_needs() -> None:
    copied = {
        source
        for name, value in instructions()
        if name == "COPY" and "--from" not in value
        for source in value.split()[:-1]
    }
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    needed = {package.split("/")[0] for package in packages}
    needed |= {PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]}
    assert needed | {"pyproject.toml", "requirements.lock"} == copied
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line.removeprefix("!") for line in kept if line.startswith("!")} == copied
    assert all((ROOT / name).exists() for name in copied)


def test_what_waits_in_files_outlives_the_worker_s_container() -> None:
    (volume,) = SERVICES["worker"]["volumes"]
    folder = volume.split(":")[1]
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"VOLUME {folder}\n" in dockerfile
    workdir = folder.rsplit("/", 1)[0]
    assert f"WORKDIR {workdir}\n" in dockerfile
