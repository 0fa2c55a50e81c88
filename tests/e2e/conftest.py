"""One browser, one server and one week of traffic for all tests; each test has its own dataset."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from intentloop_admin.security.keys import create_key
from intentloop_admin.security.scopes import Scope
from intentloop_admin.services import Services
from intentloop_sink import PostgresSink, Stored
from support import tables
from support.api import configuration
from support.batches import batch, entry, partition
from support.browsers import FLAGS, find_browser, serving
from support.week import store_week

CONVERSATIONS = 1_500


@dataclass
class Site:
    """A running server, and ways to fill it."""

    url: str
    database: str
    services: Services
    lines: int = field(default=0)

    def key(self, *scopes: Scope, **fields: Any) -> str:
        """Make a key."""
        now = datetime.now(UTC)
        text, stored = create_key(fields.pop("name", "Ana"), scopes, now=now, **fields)
        self.services.keys.add(stored)
        return text

    def receive(self, dataset: str, *events: dict[str, Any]) -> None:
        """Store events in a dataset of a test's own."""
        now = round(time.time() * 1000)
        entries = [
            entry(i, **{"dataset_id": dataset, "event_id": f"{dataset}-{self.lines}-{i}",
                        "timestamp": now - 60_000 + i, **fields})
            for i, fields in enumerate(events)
        ]  # fmt: skip
        self.lines += 1
        sink = PostgresSink(self.database, window_seconds=30, writer="e2e")
        outcome = sink.store(sink.prepare([batch(entries, partition=partition(self.lines))]))
        sink.close()
        assert isinstance(outcome, Stored), outcome

    def query(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        """Ask the database."""
        return tables.query(self.database, sql, *args)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless browser, whose event loop ends with the module; without one, skips."""
    path = find_browser()
    if path is None:
        pytest.skip(
            "no browser: `apt-get install chromium-headless-shell`, or name one in CHROMIUM"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(
    browser: Browser, module_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A server with a week of traffic."""
    url = module_database_url
    store_week(url, CONVERSATIONS)
    services = Services(configuration(url, tmp_path_factory.mktemp("fallback")))
    with serving(services) as address:
        yield Site(address, url, services)


@dataclass
class Visitor:
    """Somebody at a browser of their own, and what went wrong there."""

    site: Site
    context: BrowserContext
    page: Page
    troubles: list[str] = field(default_factory=list)

    def sign_in(self, key: str, path: str = "/") -> Page:
        """Sign in with the keyboard alone."""
        self.page.goto(self.site.url + path)
        self.page.get_by_label("Your API key").fill(key)
        self.page.keyboard.press("Enter")
        self.page.wait_for_url(lambda url: "/sign-in" not in url)
        return self.page

    def go(self, path: str) -> Page:
        """Open a page and wait until everything on it is there."""
        self.page.goto(self.site.url + path, wait_until="load")
        return self.page


@pytest.fixture
def visit(browser: Browser, site: Site) -> Iterator[Callable[..., Visitor]]:
    """A function that opens browsers of their own; afterwards none may have had trouble."""
    visitors = []

    def open_one(**options: Any) -> Visitor:
        context = browser.new_context(**options)
        context.set_default_timeout(15_000)
        visitor = Visitor(site, context, context.new_page())
        note = visitor.troubles.append
        page = visitor.page
        page.on("console", lambda m: note(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: note(str(error)))
        page.on("requestfailed", lambda r: note(f"{r.url} {r.failure}") if _counts(r) else None)
        page.on("response", lambda r: note(f"{r.status} {r.url}") if r.status >= 500 else None)
        visitors.append(visitor)
        return visitor

    yield open_one
    troubles = [trouble for visitor in visitors for trouble in visitor.troubles]
    for visitor in visitors:
        visitor.context.close()
    assert troubles == []


def _counts(request: Any) -> bool:
    """Tell whether a failure counts: who leaves a page cancels what it was still loading."""
    return "ERR_ABORTED" not in (request.failure or "")


@pytest.fixture
def dataset() -> str:
    """A dataset of the test's own."""
    return f"ds-{uuid.uuid4().hex[:12]}"
