"""Sessions: what a browser may do that is signed in, and what other sites may not make it do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from intentloop_admin.security.keys import create_key
from intentloop_admin.security.scopes import Scope
from support.api import DATASETS, Api, configuration, conversation, running_api

PAGE = {"accept": "text/html"}
SignIn = Callable[..., TestClient]


@pytest.fixture
def sign_in(api: Api) -> Iterator[SignIn]:
    """A function that returns a client with a session, and no key of its own."""
    clients = []

    def enter(*scopes: Scope, address: str = "http://testserver", **fields: Any) -> TestClient:
        text, stored = create_key("Ana", scopes, now=datetime.now(UTC), **fields)
        api.services.keys.add(stored)
        client = TestClient(api.app, base_url=address, follow_redirects=False, headers=PAGE)
        clients.append(client)
        answer = client.post("/sign-in", data={"key": text, "next_page": "/audit"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/audit")
        return client

    yield enter
    for client in clients:
        client.close()


@pytest.fixture(autouse=True)
def something_to_see(api: Api) -> None:
    api.log(conversation())


def test_a_session_opens_pages_and_lets_the_api_be_read(sign_in: SignIn) -> None:
    client = sign_in(Scope.READ)
    assert client.get("/").status_code == 200
    assert client.get(DATASETS).status_code == 200


def test_a_session_changes_nothing_through_the_api(sign_in: SignIn) -> None:
    client = sign_in(Scope.READ, Scope.ADMIN)
    created = client.post(DATASETS, json={"id": "ds-x", "name": "X"})
    assert created.status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
    ],
)
def test_a_form_of_another_site_does_nothing(sign_in: SignIn, headers: dict[str, str]) -> None:
    client = sign_in(Scope.READ, Scope.REVIEW)
    action = {"what": "accept", "scope": "all"}
    address = "/training/datasets/ds-auto-training/examples"

    refused = client.post(address, data=action, headers=headers)

    assert refused.status_code == 403
    assert "another site" in refused.text
    assert client.post("/sign-out", headers=headers).status_code == 403
    own = {"origin": "http://testserver"}
    assert client.post(address, data=action, headers=own).status_code == 303


def test_nobody_signs_a_browser_in_from_elsewhere(api: Api) -> None:
    answer = api.post(
        "/sign-in", data={"key": "x"}, headers={"origin": "https://evil.example", **PAGE}
    )
    assert answer.status_code == 403


def test_the_cookie_is_for_the_browser_alone(sign_in: SignIn, api: Api) -> None:
    text, stored = create_key("Ben", [Scope.READ], now=datetime.now(UTC))
    api.services.keys.add(stored)
    for address, secure in (("http://testserver", False), ("https://testserver", True)):
        client = TestClient(api.app, base_url=address, follow_redirects=False)
        cookie = client.post("/sign-in", data={"key": text}).headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert ("secure" in cookie) is secure
        assert text not in cookie


def test_signing_out_ends_the_session_everywhere(sign_in: SignIn) -> None:
    client = sign_in(Scope.READ)
    token = client.cookies["intentloop_session"]
    client.post("/sign-out")

    client.cookies.set("intentloop_session", token)
    answer = client.get("/?datasetId=ds-auto-training")

    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next_page=%2F%3FdatasetId%3Dds-auto-training"


def test_a_session_ends_with_its_key(sign_in: SignIn) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    client = sign_in(Scope.READ, expires_at=soon)
    while datetime.now(UTC) <= soon:
        assert client.get("/tail").status_code in (200, 303)
    assert client.get("/").status_code == 303


@pytest.mark.parametrize(
    "target", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_signing_in_leads_nowhere_else(api: Api, target: str) -> None:
    text, stored = create_key("Ana", [Scope.READ], now=datetime.now(UTC))
    api.services.keys.add(stored)
    client = TestClient(api.app, follow_redirects=False)
    answer = client.post("/sign-in", data={"key": text, "next_page": target})
    assert answer.headers["location"] == "/"


def test_a_key_for_one_dataset_begins_there(api: Api) -> None:
    text, stored = create_key("Ana", [Scope.READ], now=datetime.now(UTC), datasets=["ds-shop"])
    api.services.keys.add(stored)
    client = TestClient(api.app, follow_redirects=False)
    answer = client.post("/sign-in", data={"key": text})
    assert answer.headers["location"] == "/?datasetId=ds-shop"


def test_programs_get_problems_and_people_pages(api: Api) -> None:
    client = TestClient(api.app, follow_redirects=False)
    assert client.get("/").status_code == 401
    assert client.get("/", headers=PAGE).status_code == 303
    missing = api.get("/training/datasets/ds-none", headers=PAGE)
    assert missing.status_code == 404
    assert "There is no dataset ds-none" in missing.text
    assert missing.headers["content-type"].startswith("text/html")
    assert "script-src 'self'" in missing.headers["content-security-policy"]


def test_what_needs_postgres_says_so_in_json_mode(tmp_path: Path) -> None:
    with running_api(configuration(None, tmp_path)) as api:
        api.log(conversation())
        for path in ("/", "/tail", "/training/datasets/ds-auto-training", "/pipeline",
                     "/training/datasets/ds-auto-training/intents/track_order"):  # fmt: skip
            assert api.get(path, headers=PAGE).status_code == 200, path
        answer = api.get("/review", headers=PAGE)
    assert answer.status_code == 503
    assert "Set DATABASE_URL" in answer.text
