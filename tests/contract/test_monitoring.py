"""Alerts, Grafana's panels, and the metrics and tables that they are about."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from intentloop_admin.metrics import Metrics as ApiMetrics
from intentloop_stream.metrics import Metrics as WorkerMetrics
from support import tables

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
METRIC = re.compile(r"\bintentloop_[a-z0-9_]+")
MACROS = {
    r"\$__timeFilter\((\w+)\)": r"\1 BETWEEN now() - interval '1 day' AND now()",
    r"\$dataset": "ds-auto-training",
}


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return group["rules"]


def targets() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{file.stem}: {panel['title']} {target['refId']}", target


STATEMENTS = [(name, target["rawSql"]) for name, target in targets() if "rawSql" in target]
EXPRESSIONS = [
    *((rule["alert"], rule["expr"]) for rule in rules()),
    *((name, target["expr"]) for name, target in targets() if "expr" in target),
]


def names_of_metrics() -> set[str]:
    """Return the names under which Prometheus knows what worker and API count."""
    worker = WorkerMetrics()
    worker.lag(dict)
    worker.gauge("spooled_events", "", lambda: 0.0)
    text = (worker.text() + ApiMetrics().text()).decode()
    declared = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
    suffixes = {"histogram": ("", "_bucket", "_count", "_sum")}
    return {name + suffix for name, kind in declared for suffix in suffixes.get(kind, ("",))}


def promtool(*arguments: str) -> str:
    command = shutil.which("promtool")
    if command is None:
        pytest.skip("promtool is not installed: it comes with Debian's package prometheus")
    ran = subprocess.run([command, *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_promtool_takes_rules_and_configuration() -> None:
    assert f"{len(rules())} rules found" in promtool("check", "rules", f"{PROMETHEUS}/alerts.yml")
    promtool("check", "config", "--syntax-only", f"{PROMETHEUS}/prometheus.yml")


def test_every_alert_fires_when_it_should_and_only_then() -> None:
    assert "SUCCESS" in promtool("test", "rules", f"{PROMETHEUS}/alerts_test.yml")


def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    cases = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
    tried = [case for test in cases for case in test["alert_rule_test"]]
    alerts = {rule["alert"] for rule in rules()}
    assert {case["alertname"] for case in tried if case["exp_alerts"]} == alerts
    assert {case["alertname"] for case in tried if not case["exp_alerts"]} == alerts


def test_every_alert_says_what_to_do() -> None:
    assert all(rule["annotations"]["remedy"] for rule in rules())


@pytest.mark.parametrize(("name", "expression"), EXPRESSIONS, ids=[name for name, _ in EXPRESSIONS])
def test_every_metric_that_is_asked_for_exists(name: str, expression: str) -> None:
    wanted = set(METRIC.findall(expression))
    assert wanted or expression.startswith("up")
    assert wanted <= names_of_metrics()


@pytest.mark.parametrize(("name", "statement"), STATEMENTS, ids=[name for name, _ in STATEMENTS])
def test_every_statement_of_a_panel_runs(
    module_database_url: str, name: str, statement: str
) -> None:
    for macro, meaning in MACROS.items():
        statement = re.sub(macro, meaning, statement)
    assert "$" not in statement
    tables.query(module_database_url, statement.replace("%", "%%"))


def test_panels_ask_sources_that_are_provisioned() -> None:
    provisioned = yaml.safe_load(
        (DEPLOY / "grafana" / "provisioning" / "datasources" / "intentloop.yml").read_text()
    )
    known = {source["uid"] for source in provisioned["datasources"]}
    assert {target["datasource"]["uid"] for _, target in targets()} == known
