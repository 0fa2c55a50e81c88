"""The API against its own OpenAPI: whatever is sent, the answer is a documented one.

INTENTLOOP_SCHEMA_EXAMPLES sets how many requests each operation gets.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from intentloop_admin.app import bare_app
from intentloop_admin.security.authentication import HEADER
from support.api import ADMIN_KEY, configuration, serving

EXAMPLES = int(os.environ.get("INTENTLOOP_SCHEMA_EXAMPLES", "5"))

schema = schemathesis.openapi.from_dict(bare_app().openapi())


@pytest.fixture(scope="module", params=["postgres", "files"])
def address(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    url = request.getfixturevalue("module_database_url") if request.param == "postgres" else None
    folder = tmp_path_factory.mktemp("fallback")
    with serving(configuration(url, folder, requests_per_minute=0)) as address:
        yield address


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_as_documented(case: schemathesis.Case, address: str) -> None:
    case.call_and_validate(
        base_url=address,
        headers={HEADER: ADMIN_KEY},
        # A schema cannot say that an event contradicts another, or that a cursor is made up.
        excluded_checks=[schemathesis.checks.positive_data_acceptance],
    )
