"""An API for the tests of a module, on a database of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from intentloop_devstack import PostgresServer
from intentloop_sink import migrate
from support import tables
from support.api import Api, configuration, running_api


@pytest.fixture(scope="module")
def url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a migrated database that the module's tests share."""
    name = f"api_{uuid.uuid4().hex[:12]}"
    tables.administer(postgres_server.url, f'CREATE DATABASE "{name}"')
    url = f"{postgres_server.url.rpartition('/')[0]}/{name}"
    migrate(url)
    yield url
    tables.administer(postgres_server.url, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="module", params=["postgres", "files"])
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A client of an API that the module's tests share: on Postgres, and on files."""
    url = request.getfixturevalue("url") if request.param == "postgres" else None
    with running_api(configuration(url, tmp_path_factory.mktemp("fallback"))) as api:
        yield api
