"""An API for the tests of a module, on a database of its own, and a dataset for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from support.api import Api, configuration, running_api


@pytest.fixture(scope="module", params=["postgres", "files"])
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A client of an API that the module's tests share: on Postgres, and on files."""
    url = request.getfixturevalue("module_database_url") if request.param == "postgres" else None
    with running_api(configuration(url, tmp_path_factory.mktemp("fallback"))) as api:
        yield api


@pytest.fixture
def dataset() -> str:
    """A dataset of the test's own."""
    return f"ds-{uuid.uuid4().hex[:12]}"
