"""The manifests for Kubernetes are valid, and say nothing that the project does not know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer
import yaml

from intentloop_cli import configuration
from intentloop_cli.app import app

BASE = Path(__file__).parents[2] / "deploy" / "base"
KUSTOMIZATION = yaml.safe_load((BASE / "kustomization.yaml").read_text())
CUSTOM_KINDS = {"ScaledObject"}
"""Not Kubernetes' own: the schemas at hand do not know them."""


def manifests() -> list[dict[str, Any]]:
    files = [BASE / name for name in KUSTOMIZATION["resources"]]
    return [document for file in files for document in yaml.safe_load_all(file.read_text())]


def named(manifest: dict[str, Any]) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def containers() -> Iterator[dict[str, Any]]:
    for manifest in manifests():
        spec = manifest.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        pod = spec.get("template", {}).get("spec", {})
        yield from (*pod.get("initContainers", []), *pod.get("containers", []))


KNOWN = [manifest for manifest in manifests() if manifest["kind"] not in CUSTOM_KINDS]


@pytest.mark.parametrize("manifest", KNOWN, ids=named)
def test_every_manifest_fits_the_schema_of_its_kind(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_every_file_is_a_resource() -> None:
    files = {path.name for path in BASE.glob("*.yaml")} - {"kustomization.yaml"}
    assert files == set(KUSTOMIZATION["resources"])


def test_every_setting_is_one_that_a_part_reads() -> None:
    known = {s.variable for part in configuration.PARTS for s in configuration.settings_of(part)}
    lines = (BASE / "settings.env").read_text().splitlines()
    assert {line.partition("=")[0] for line in lines} <= known


@pytest.mark.parametrize("container", list(containers()), ids=lambda container: container["name"])
def test_every_container_runs_a_command_without_any_right_it_does_not_need(
    container: dict[str, Any],
) -> None:
    command: Any = typer.main.get_command(app)
    for word in container["args"]:
        if word.startswith("-"):
            break
        command = command.get_command(None, word)
        assert command
        if not hasattr(command, "get_command"):
            break
    assert container["image"] == KUSTOMIZATION["images"][0]["name"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["resources"]["limits"]["memory"]


def test_what_is_past_its_retention_is_removed_by_itself() -> None:
    (job,) = (m for m in manifests() if m["kind"] == "CronJob")
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["retention", "apply"]


def test_probes_ask_at_ports_that_are_open() -> None:
    for container in containers():
        ports = {port["name"] for port in container.get("ports", [])}
        probes = [probe for name, probe in container.items() if name.endswith("Probe")]
        assert {probe["httpGet"]["port"] for probe in probes} <= ports


def test_there_are_never_more_workers_than_partitions() -> None:
    (scaling,) = (m for m in manifests() if m["kind"] == "ScaledObject")
    (topics,) = (c for c in containers() if c["args"][:1] == ["topics"])
    partitions = topics["args"][topics["args"].index("--partitions") + 1]

    assert scaling["spec"]["maxReplicaCount"] == int(partitions)
    assert scaling["spec"]["scaleTargetRef"]["name"] in {
        m["metadata"]["name"] for m in manifests() if m["kind"] == "StatefulSet"
    }
    (trigger,) = scaling["spec"]["triggers"]
    settings = dict(line.split("=", 1) for line in (BASE / "settings.env").read_text().splitlines())
    assert trigger["metadata"]["bootstrapServers"] == settings["KAFKA_BOOTSTRAP_SERVERS"]
    assert trigger["metadata"]["topic"] == settings["INTENTLOOP_TOPIC"]
    assert trigger["metadata"]["consumerGroup"] == settings["INTENTLOOP_GROUP"]
