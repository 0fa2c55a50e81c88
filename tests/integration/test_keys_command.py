"""`intentloop keys`, as an operator uses it, with a database and without."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from intentloop_admin.security.authentication import HEADER
from intentloop_cli.app import app
from support.api import DATASETS, configuration, conversation, running_api


@pytest.fixture(params=["postgres", "files"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("FALLBACK_DIR", str(tmp_path))
    if request.param == "files":
        monkeypatch.delenv("DATABASE_URL", raising=False)
        return ""
    url: str = request.getfixturevalue("database_url")
    monkeypatch.setenv("DATABASE_URL", url)
    return url


def keys(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["keys", *arguments])


def test_a_key_is_shown_once_works_and_ends(url: str, tmp_path: Path) -> None:
    options = ["--scope", "ingest", "--scope", "read", "--dataset", "ds-shop", "--expires", "90d"]
    created = keys("create", "--name", "shop bot", *options)
    assert created.exit_code == 0, created.output
    text = created.stdout.strip()
    assert re.fullmatch(r"il_[0-9a-f]{12}_[0-9a-f]{48}", text)

    with running_api(configuration(url or None, tmp_path)) as api:
        event = conversation(datasetId="ds-shop")
        assert api.log(event, headers={HEADER: text}).status_code == 200

    listed = keys("list").stdout
    assert text not in listed
    for shown in ("shop bot", "ingest read", "ds-shop", "valid until"):
        assert shown in listed
    assert "never" not in listed

    key_id = text.split("_")[1]
    assert keys("revoke", key_id).exit_code == 0
    assert "revoked" in keys("list").stdout
    with running_api(configuration(url or None, tmp_path)) as api:
        assert api.get(DATASETS, headers={HEADER: text}).status_code == 401


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["create", "--name", "x", "--scope", "everything"], "everything"),
        (["create", "--name", "x", "--scope", "read", "--dataset", "My Shop"], "My Shop"),
        (["create", "--name", "x", "--scope", "read", "--expires", "soon"], "90d"),
        (["create", "--name", "x"], "--scope"),
        (["revoke", "nobody"], "keys list"),
    ],
)
def test_what_is_wrong_is_said(url: str, arguments: list[str], says: str) -> None:
    result = keys(*arguments)

    assert result.exit_code != 0
    assert says in result.output


def test_no_keys_yet(url: str) -> None:
    assert "intentloop keys create" in keys("list").stdout


def test_a_database_without_tables_is_said(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)

    result = keys("list")

    assert result.exit_code == 1
    assert "intentloop migrate" in result.output
