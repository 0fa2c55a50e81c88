"""Pictures of the pages with a week of demo traffic: `python -m support.screenshots FOLDER`."""

from __future__ import annotations

import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from intentloop_admin.security.keys import create_key
from intentloop_admin.security.scopes import Scope
from intentloop_admin.services import Services
from intentloop_devstack import local_postgres
from intentloop_sink import migrate
from support.api import configuration
from support.browsers import FLAGS, find_browser, serving
from support.tables import query
from support.week import store_week

DATASET = "ds-auto-training"
WEEK = f"/training/datasets/{DATASET}"
SHOTS = {
    "overview": "/",
    "dataset": WEEK,
    "intent": f"{WEEK}/intents/track_order",
    "review": "/review",
    "audit": "/audit",
    "pipeline": "/pipeline",
}


def main(folder: Path) -> None:
    """Take all pictures, light and dark, wide and narrow."""
    folder.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp())
    with local_postgres(home / "postgres", environ={}, keep=False) as postgres:
        migrate(postgres.url)
        store_week(postgres.url, 4_000)
        services = Services(configuration(postgres.url, home / "fallback"))
        now = datetime.now(UTC)
        key, stored = create_key("Ana", [Scope.READ, Scope.REVIEW, Scope.TRAIN], now=now)
        services.keys.add(stored)
        with serving(services) as address:
            _await_cards(postgres.url)
            _take_all(address, key, folder)


def _await_cards(url: str) -> None:
    while not query(url, "SELECT 1 FROM review_card WHERE queue = 'audit' LIMIT 1") or query(
        url, "SELECT 1 FROM review_inbox LIMIT 1"
    ):
        time.sleep(0.2)


def _take_all(address: str, key: str, folder: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{address}/sign-in")
        page.get_by_label("Your API key").fill(key)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{address}/")
        _audit_some(page, address)
        for name, path in SHOTS.items():
            _take(page, address + path, folder / f"{name}.png")
        page.emulate_media(color_scheme="dark")
        for name in ("overview", "review"):
            _take(page, address + SHOTS[name], folder / f"{name}-dark.png")
        page.set_viewport_size({"width": 390, "height": 844})
        for name, path in SHOTS.items():
            _take(page, address + path, folder / f"{name}-phone.png")
        browser.close()


def _audit_some(page: Page, address: str) -> None:
    """Judge part of the audit: most of it right, as the model mostly is."""
    page.goto(f"{address}/review?queue=audit")
    for number in range(40):
        with page.expect_navigation():
            page.keyboard.press("o" if number % 13 == 5 else "a")
    page.goto(f"{address}/review")
    for number in range(12):
        with page.expect_navigation():
            page.keyboard.press("1" if number % 3 else "a")


def _take(page: Page, address: str, file: Path) -> None:
    page.goto(address, wait_until="load")
    for part in page.locator("[data-refresh]").all():
        expect(part).not_to_contain_text("Without scripts")
    page.screenshot(path=file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
