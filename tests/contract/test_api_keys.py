"""Keys, for every route that there is: a new one cannot be forgotten."""

from __future__ import annotations

import logging
import uuid
from base64 import b64encode
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

from intentloop_admin import documentation
from intentloop_admin.app import OPEN_ROUTES, ROUTERS, require_guarded, requirement
from intentloop_admin.routes import health
from intentloop_admin.security.access import Requires, Where
from intentloop_admin.security.authentication import HEADER
from intentloop_admin.security.keys import create_key
from intentloop_admin.security.scopes import Scope
from support.api import (
    ADMIN_KEY,
    BULK,
    DATASETS,
    JOBS,
    Api,
    configuration,
    conversation,
    running_api,
)


class Call(NamedTuple):
    """A request to one of the routes, and what that asks of a key."""

    method: str
    address: str
    wants: Requires

    def __str__(self) -> str:
        return f"{self.method} {self.address}"


def routes() -> Iterable[APIRoute]:
    for router in ROUTERS:
        yield from (route for route in router.routes if isinstance(route, APIRoute))


CALLS = [
    Call(
        method, route.path_format.format(**dict.fromkeys(route.param_convertors, "ds-mine")), wants
    )
    for route in routes()
    for method in sorted(route.methods)
    if (wants := requirement(route))
]
GUARDED = [*((call.method, call.address) for call in CALLS)] + [
    ("GET", path) for path in sorted(documentation.PATHS)
]


def test_the_routes_are_listed() -> None:
    assert ("POST", BULK) in GUARDED
    assert len(GUARDED) + len(OPEN_ROUTES) >= len(list(routes()))


@pytest.fixture(scope="module")
def useless(api: Api) -> list[str]:
    """Keys that are wrong, revoked and expired."""
    valid, _ = stored_key(api, Scope.ADMIN)
    revoked, stored = stored_key(api, Scope.ADMIN, Scope.PII)
    api.services.keys.revoke(stored.id)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    expired, _ = stored_key(api, Scope.ADMIN, Scope.PII, expires_at=yesterday)
    return [valid[:-1], revoked, expired]


@pytest.mark.parametrize(("method", "address"), GUARDED)
def test_nothing_without_a_key(api: Api, useless: list[str], method: str, address: str) -> None:
    for text in useless:
        assert_refused(api, method, address, text)
    del api.headers[HEADER]
    try:
        assert api.request(method, address).status_code == 401
    finally:
        api.headers[HEADER] = ADMIN_KEY


@pytest.mark.parametrize(
    "text", ["", "x", "il_", "il_a_b", ADMIN_KEY[:-1], ADMIN_KEY + "x", "{id}_0", "{key}!", "{sum}"]
)
def test_not_with_what_only_looks_like_a_key(api: Api, text: str) -> None:
    valid, stored = stored_key(api, Scope.ADMIN)
    known = {"id": f"il_{stored.id}", "key": valid[:-1], "sum": stored.digest}

    assert_refused(api, "GET", DATASETS, text.format_map(known))


def assert_refused(api: Api, method: str, address: str, text: str) -> None:
    answer = api.request(method, address, headers={HEADER: text})
    assert answer.status_code == 401, text
    assert answer.headers["www-authenticate"]
    assert answer.json()["detail"]


def stored_key(api: Api, *scopes: Scope, **fields: Any) -> tuple[str, Any]:
    text, stored = create_key("test", scopes, now=datetime.now(UTC), **fields)
    api.services.keys.add(stored)
    return text, stored


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_not_with_the_wrong_scope(api: Api, call: Call) -> None:
    others = set(Scope) - {call.wants.scope, Scope.ADMIN}

    answer = api.request(call.method, call.address, headers=api.key(*others))

    assert answer.status_code == 403
    assert call.wants.scope in answer.json()["detail"]


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_not_with_another_dataset_s_key(api: Api, call: Call) -> None:
    api.log(conversation(datasetId="ds-mine"))
    key = api.key(Scope.ADMIN, Scope.PII, datasets=["ds-other"])
    body = BODIES.get((call.method, call.address))
    address = call.address
    if f"{JOBS}/ds-mine" in address:
        address = address.replace(f"{JOBS}/ds-mine", f"{JOBS}/{job_of(api, 'ds-mine')}")

    form = FORMS.get((call.method, call.address))
    answer = api.request(call.method, address, headers=key, json=body, data=form)

    if call.wants.where is Where.NONE or (call.method, call.address) in LISTS:
        assert answer.is_success or answer.status_code == 422, answer.text
        assert "ds-mine" not in answer.text
    else:
        assert answer.status_code == 403, answer.text


def job_of(api: Api, dataset_id: str) -> str:
    """Return the id of a job of a dataset."""
    new = {"kind": "nlu-train", "datasetId": dataset_id}
    return str(api.post(JOBS, json=new).json()["id"])


BODIES: dict[tuple[str, str], Any] = {
    ("POST", BULK): {"conversations": [conversation(datasetId="ds-mine")]},
    ("POST", DATASETS): {"id": "ds-mine", "name": "Mine"},
    ("POST", JOBS): {"kind": "nlu-train", "datasetId": "ds-mine"},
}
"""Where only the body says which dataset it is about."""
FORMS: dict[tuple[str, str], Any] = {
    ("POST", "/review/decide"): {"datasetId": "ds-mine", "card": "0" * 32, "verdict": "accept"},
    ("POST", "/review/undo"): {"datasetId": "ds-mine"},
}
LISTS = {("GET", DATASETS), ("GET", "/training/datasets")}
"""What lists datasets leaves out those that the key is not for."""


@pytest.mark.parametrize("path", sorted(health.OPEN_PATHS))
def test_health_is_open(api: Api, path: str) -> None:
    assert api.get(path, headers={HEADER: "wrong"}).status_code == 200


def test_a_route_that_asks_for_nothing_cannot_be_built() -> None:
    router = APIRouter()
    router.add_api_route("/forgotten", lambda: None)

    with pytest.raises(RuntimeError, match="/forgotten asks for no scope"):
        require_guarded(router)


def test_nor_can_one_hide_in_a_router_inside_another() -> None:
    inner, outer = APIRouter(), APIRouter()
    inner.add_api_route("/forgotten", lambda: None)
    outer.include_router(inner)

    with pytest.raises(RuntimeError, match="list its router in ROUTERS"):
        require_guarded(outer)


def test_a_key_comes_as_header_or_bearer_token(api: Api) -> None:
    text = api.key(Scope.READ)[HEADER]
    del api.headers[HEADER]
    try:
        for headers in ({HEADER: text}, {"Authorization": f"Bearer {text}"}):
            assert api.get(DATASETS, headers=headers).status_code == 200
    finally:
        api.headers[HEADER] = ADMIN_KEY


def test_a_browser_reads_the_documentation_with_a_password_and_nothing_else(api: Api) -> None:
    text = api.key(Scope.READ)[HEADER]
    basic = {"Authorization": f"Basic {b64encode(f'me:{text}'.encode()).decode()}"}
    del api.headers[HEADER]
    try:
        assert "swagger-ui" in api.get("/docs", headers=basic).text
        assert api.get("/docs").headers["www-authenticate"].startswith("Basic")
        assert api.get(DATASETS, headers=basic).status_code == 401
        for damaged in ("Basic", "Basic !", "Basic \xff", f"Basic {b64encode(b'x').decode()}"):
            headers = {"Authorization": damaged.encode("latin-1")}
            assert api.get("/docs", headers=headers).status_code == 401
    finally:
        api.headers[HEADER] = ADMIN_KEY


def test_a_revoked_key_ends_soon(api: Api, eventually: Any) -> None:
    text, stored = stored_key(api, Scope.READ)
    key = {HEADER: text}
    assert api.get(DATASETS, headers=key).status_code == 200

    api.services.keys.revoke(stored.id)

    eventually(lambda: api.get(DATASETS, headers=key).status_code == 401)


def test_a_key_for_some_datasets_sees_and_fills_only_those(api: Api) -> None:
    mine, other = (f"ds-{uuid.uuid4().hex[:8]}" for _ in range(2))
    key = api.key(Scope.INGEST, Scope.READ, datasets=[mine])

    answer = api.log(conversation(datasetId=mine), conversation(datasetId=other), headers=key)

    assert (answer.status_code, answer.json()["count"]) == (207, 1)
    assert answer.json()["errors"] == [
        {"index": 1, "error": f"datasetId: this key is not for {other}"}
    ]
    assert [found["id"] for found in api.get(DATASETS, headers=key).json()] == [mine]
    assert api.get(f"{DATASETS}/{other}").status_code == 404


def test_a_key_has_a_rate(api: Api) -> None:
    key = api.key(Scope.READ, requests_per_minute=3)

    answers = [api.get(DATASETS, headers=key) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["RateLimit-Policy"] == '"requests";q=3;w=60'
    assert answers[0].headers["RateLimit"].startswith('"requests";r=2;t=')
    assert 1 <= int(answers[3].headers["Retry-After"]) <= 60
    assert answers[3].json()["status"] == 429
    # Another key is another matter.
    assert api.get(DATASETS, headers=api.key(Scope.READ)).status_code == 200


def test_last_use_is_noted_at_the_end(module_database_url: str, tmp_path: Any) -> None:
    with running_api(configuration(module_database_url, tmp_path)) as api:
        text, stored = stored_key(api, Scope.READ)
        api.get(DATASETS, headers={HEADER: text})
    with running_api(configuration(module_database_url, tmp_path)) as api:
        (key,) = (key for key in api.services.keys.all() if key.id == stored.id)
    assert key.last_used_at is not None


def test_no_sender_and_no_text_in_the_logs(
    api: Api, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = "the words of a customer"
    with caplog.at_level(logging.DEBUG):
        api.log(conversation(messageText=secret))
        address = f"{DATASETS}/ds-auto-training/examples"
        api.get(address, params={"q": secret, "tag": "source:+919876543210"})
        api.log({**conversation(messageText=secret), "confidence": 2})

    # The test's own client logs its addresses.
    records = [str(record) for record in caplog.records if not record.name.startswith("http")]
    written = "\n".join([*capfd.readouterr(), *records])
    assert "bulk" in written
    assert secret not in written
    assert "9876543210" not in written
