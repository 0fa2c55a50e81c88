"""The API while the database is away, and where there never was one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from intentloop_admin.security.scopes import Scope
from intentloop_admin.services import Services
from intentloop_sink import PostgresSink
from intentloop_sink.spool import SpoolHeldError, SpoolSettings, replay_all
from support import tables
from support.api import DATASETS, NOON, Api, configuration, conversation, running_api
from support.proxy import Proxy

SIZE = f"{DATASETS}/ds-auto-training"
EXAMPLES = f"{SIZE}/examples"


@pytest.fixture
def road(database_url: str) -> Iterator[Proxy]:
    """The only road between the API and the database."""
    proxy = Proxy(database_url)
    yield proxy
    proxy.stop()


@pytest.fixture
def api(road: Proxy, tmp_path: Path) -> Iterator[Api]:
    with running_api(configuration(road.url, tmp_path / "fallback")) as api:
        yield api


def stamps(api: Api, **query: Any) -> list[int]:
    """Return the numbers of all conversations that can be read, the newest first."""
    found: list[int] = []
    answer = api.get(EXAMPLES, params=query)
    while True:
        assert answer.status_code == 200, answer.text
        found += [int(e["tags"][2].removeprefix("timestamp:")) - NOON for e in answer.json()]
        if "next" not in answer.links:
            return found
        answer = api.get(answer.links["next"]["url"])


def test_what_comes_during_an_outage_is_readable_at_once_and_stored_once_after_it(
    api: Api, road: Proxy, database_url: str, eventually: Any
) -> None:
    api.log(*(conversation(i) for i in range(0, 20, 2)))
    key = api.key(Scope.READ)
    assert api.get(SIZE, headers=key).json()["size"] == 10

    road.close_road()
    during = [api.log(conversation(i)) for i in range(1, 20, 2)]
    assert [(answer.status_code, answer.json()["count"]) for answer in during] == [(200, 1)] * 10
    read = api.get(EXAMPLES, headers=key)
    assert read.headers["Intentloop-Store"] == "files"
    assert stamps(api) == list(range(19, 0, -2))
    assert api.get(SIZE).json()["size"] == 10

    refused = api.patch(f"{EXAMPLES}/{read.json()[0]['id']}", json={"reviewed": True})
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    # What only the database knows is not said to be missing.
    assert api.get(f"{DATASETS}/ds-elsewhere").status_code == 503

    road.open_road()
    eventually(lambda: "Intentloop-Store" not in api.get(SIZE).headers)
    # Readable in every moment of the replay, too.
    assert stamps(api, limit=7) == list(range(19, -1, -1))
    eventually(lambda: tables.accounted(database_url) == 20)
    assert tables.query(database_url, 'SELECT count(*) FROM "Example"') == [(20,)]
    assert tables.query(database_url, "SELECT sum(n) FROM intent_window_stats") == [(20,)]
    assert tables.query(database_url, "SELECT count(*) FROM conversation_batch_gaps") == [(0,)]
    assert api.get(SIZE).json()["size"] == 20
    assert api.log(conversation(99)).json()["count"] == 1


def test_a_lost_answer_to_commit_stores_nothing_twice(
    api: Api, road: Proxy, database_url: str
) -> None:
    api.log(conversation(0))
    for number in range(1, 4):
        road.lost.clear()
        road.lose_answer_to(b"COMMIT")
        assert api.log(conversation(number)).status_code == 200
        assert road.lost.wait(10)

    assert tables.query(database_url, 'SELECT count(*) FROM "Example"') == [(4,)]
    assert tables.accounted(database_url) == 4
    assert tables.query(database_url, "SELECT count(*) FROM conversation_batch_gaps") == [(0,)]


def test_an_api_starts_while_the_database_is_away(
    road: Proxy, tmp_path: Path, database_url: str, eventually: Any
) -> None:
    road.close_road()
    with running_api(configuration(road.url, tmp_path)) as api:
        assert api.log(conversation(1)).status_code == 200
        assert stamps(api) == [1]
        stranger = api.get(SIZE, headers={"X-API-KEY": "il_0_0"})
        assert (stranger.status_code, stranger.headers["Retry-After"]) == (503, "2")
        assert api.get("/readyz").status_code == 200
        road.open_road()
        eventually(lambda: tables.accounted(database_url) == 1)
        assert api.get(SIZE, headers={"X-API-KEY": "il_0_0"}).status_code == 401


def test_what_a_killed_api_left_is_stored_by_the_next(
    road: Proxy, tmp_path: Path, database_url: str, eventually: Any
) -> None:
    road.close_road()
    with running_api(configuration(road.url, tmp_path)) as api:
        api.log(*(conversation(i) for i in range(5)))
    assert list(tmp_path.glob("api-*/*.jsonl"))

    road.open_road()
    with running_api(configuration(road.url, tmp_path)):
        eventually(lambda: tables.accounted(database_url) == 5)
    assert not list(tmp_path.glob("api-*/*.jsonl"))


def test_disk_full_and_database_away(road: Proxy, tmp_path: Path, database_url: str) -> None:
    configured = configuration(road.url, tmp_path)
    small = SpoolSettings(folder=tmp_path, max_mb=1)
    large = [conversation(i, messageText="x" * 4_000) for i in range(200)]
    with running_api(replace(configured, spool=small)) as api:
        road.close_road()
        assert api.log(*large).status_code == 200
        refused = api.log(*(conversation(1_000 + i, messageText="y" * 4_000) for i in range(200)))
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert "send it again" in refused.json()["detail"]
        road.open_road()
        again = api.log(*(conversation(1_000 + i, messageText="y" * 4_000) for i in range(200)))
        assert again.status_code in (200, 503)


def everything(api: Api) -> list[Any]:
    addresses = (EXAMPLES, SIZE, f"{SIZE}/intents", "/api/stats/intents", "/api/stats/windows")
    return [api.get(address).json() for address in addresses]


def json_mode(folder: Path) -> Any:
    return running_api(configuration(None, folder))


def test_json_mode_knows_everything_again_after_a_restart(tmp_path: Path) -> None:
    with json_mode(tmp_path) as api:
        api.log(*(conversation(i, confidence=0.3) for i in range(6)))
        first = api.get(EXAMPLES).json()
        api.patch(f"{EXAMPLES}/{first[0]['id']}", json={"intent": "cancel"})
        api.post(
            f"{SIZE}/bulk",
            json={"filter": {"q": "ORDER"}, "action": "change", "change": {"addTags": ["seen"]}},
        )
        api.log(conversation(100))
        api.post(f"{SIZE}/intents/rename", json={"intent": "track_order", "to": "where"})
        api.log(conversation(200))
        api.patch(SIZE, json={"name": "Kept"})
        key = api.key(Scope.READ)
        before = everything(api)
    assert [e["intent"] for e in before[0]] == ["track_order", "where", "cancel", *["where"] * 5]

    with json_mode(tmp_path) as api:
        after = everything(api)
        assert api.get(SIZE, headers=key).status_code == 200
    assert after == before


def test_a_deleted_dataset_stays_deleted_and_may_begin_anew(tmp_path: Path) -> None:
    with json_mode(tmp_path) as api:
        api.log(*(conversation(i) for i in range(3)))
        api.delete(f"{SIZE}?confirm=ds-auto-training")
        api.log(conversation(1))
        assert stamps(api) == [1]
    with json_mode(tmp_path) as api:
        assert stamps(api) == [1]


def test_a_torn_journal_costs_only_its_last_edit(tmp_path: Path) -> None:
    with json_mode(tmp_path) as api:
        api.log(conversation())
        for name in ("One", "Two"):
            api.patch(SIZE, json={"name": name})
    journal = tmp_path / "edits.jsonl"
    journal.write_bytes(journal.read_bytes()[:-9])

    with json_mode(tmp_path) as api:
        assert api.get(SIZE).json()["name"] == "One"
        api.patch(SIZE, json={"name": "Three"})
    with json_mode(tmp_path) as api:
        assert api.get(SIZE).json()["name"] == "Three"


def test_two_apis_cannot_share_a_journal(tmp_path: Path) -> None:
    with json_mode(tmp_path), pytest.raises(SpoolHeldError, match="FALLBACK_DIR of its own"):
        Services(configuration(None, tmp_path))


def test_what_json_mode_kept_goes_into_a_database_once(tmp_path: Path, database_url: str) -> None:
    with json_mode(tmp_path) as api:
        api.log(*(conversation(i) for i in range(30)))
        api.log(*(conversation(i) for i in range(10)))
    sink = PostgresSink(database_url, window_seconds=30, writer="replay")

    report = replay_all(tmp_path, sink)

    sink.close()
    assert report.is_complete
    assert tables.query(database_url, 'SELECT count(*) FROM "Example"') == [(30,)]
    assert tables.accounted(database_url) == 40


def test_json_mode_without_room(tmp_path: Path) -> None:
    configured = configuration(None, tmp_path)
    small = SpoolSettings(folder=tmp_path, max_mb=1)
    with running_api(replace(configured, spool=small)) as api:
        events = [conversation(i, messageText="x" * 4_000) for i in range(300)]
        assert api.log(*events[:150]).status_code == 200
        refused = api.log(*events[150:])
        assert refused.status_code == 503
        assert "INTENTLOOP_FALLBACK_MAX_MB" in refused.json()["detail"]
        assert api.get(SIZE).json()["size"] == 150


def test_files_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "fallback"
    with json_mode(folder) as api:
        api.log(conversation())
        api.key(Scope.READ)
        api.patch(SIZE, json={"name": "Mine"})
        for path in folder.rglob("*"):
            assert path.stat().st_mode & 0o077 == 0, path
