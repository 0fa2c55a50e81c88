"""The pages in a real browser, on real Postgres, with a week of traffic."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from e2e.conftest import Site, Visitor
from intentloop_admin.security.scopes import Scope
from support.api import ADMIN_KEY
from support.week import PLANTED

Visit = Callable[..., Visitor]
WEEK = "/training/datasets/ds-auto-training"
PAGES = [
    "/",
    "/?since=2026-01-01&until=2026-01-07",
    WEEK,
    f"{WEEK}?q=no+such+words",
    f"{WEEK}/intents/track_order",
    f"{WEEK}/intents/track_order?columns=window",
    f"{WEEK}/models",
    f"{WEEK}/models?columns=day",
    "/review",
    "/review?queue=audit",
    "/audit",
    "/pipeline",
    "/no-such-page",
]
DARK = ["/", WEEK, "/review", "/pipeline"]
_SERIOUS = ("serious", "critical")


@pytest.fixture
def reviewer(site: Site, visit: Visit) -> Visitor:
    """Somebody who may read and review, signed in."""
    visitor = visit()
    visitor.sign_in(site.key(Scope.READ, Scope.REVIEW))
    return visitor


def settle(page: Page) -> None:
    """Wait for the parts of a page that are fetched by themselves."""
    page.wait_for_load_state("load")
    for part in page.locator("[data-refresh]").all():
        expect(part).not_to_contain_text("Without scripts")


def test_every_page_is_whole_and_accessible(reviewer: Visitor) -> None:
    faults = []
    # Colours alone differ in the dark, and a few pages have them all.
    for theme, paths in {"light": PAGES, "dark": DARK}.items():
        reviewer.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        for path in paths:
            page = reviewer.go(path)
            settle(page)
            found = Axe().run(page).response["violations"]
            faults += [
                (theme, path, v["id"], [n["html"][:120] for n in v["nodes"]][:3])
                for v in found
                if v["impact"] in _SERIOUS
            ]
    reviewer.troubles = [t for t in reviewer.troubles if "404 (Not Found)" not in t]
    assert faults == []


def test_no_page_is_wider_than_a_phone(site: Site, visit: Visit) -> None:
    visitor = visit(viewport={"width": 375, "height": 740}, has_touch=True)
    visitor.sign_in(site.key(Scope.READ, Scope.REVIEW))
    for path in PAGES[:-1]:
        page = visitor.go(path)
        settle(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 375, path


def test_what_a_filter_shows_is_in_the_address(reviewer: Visitor) -> None:
    page = reviewer.go("/")
    all_of_them = tile(page, "Conversations")
    page.get_by_label("Channel").select_option("telegram")
    page.get_by_role("button", name="Show").click()

    expect(page).to_have_url(re.compile("channel=telegram"))
    assert 0 < tile(page, "Conversations") < all_of_them
    page.reload()
    expect(page.get_by_label("Channel")).to_have_value("telegram")


def tile(page: Page, label: str) -> int:
    text = page.locator(".tile", has_text=label).first.locator("dd").inner_text()
    return int(text.split()[0].replace(",", ""))


def test_a_planted_phrase_rises(reviewer: Visitor) -> None:
    page = reviewer.go("/")
    rising = page.get_by_role("region", name="Rising phrases").or_(
        page.locator("section", has=page.get_by_role("heading", name="Rising phrases"))
    )
    expect(rising.first).to_contain_text("diwali hamper")
    rising.first.get_by_role("link", name=re.compile("diwali hamper")).first.click()
    expect(page.locator("tbody").last).to_contain_text(PLANTED)


def test_the_live_list_shows_what_comes(site: Site, reviewer: Visitor) -> None:
    page = reviewer.go("/")
    site.receive("ds-auto-training", {"message_text": "fresh from the customer"})
    expect(page.locator("#live")).to_contain_text("fresh from the customer")
    expect(page.locator("#live")).to_contain_text("+91******3210")
    expect(page.locator("#live")).not_to_contain_text("+919876543210")


def test_an_analyst_finds_an_example_and_the_page_behind_it(
    site: Site, reviewer: Visitor, dataset: str
) -> None:
    events = [{"message_text": f"message {i}", "confidence": i / 100} for i in range(60)]
    site.receive(dataset, *events)
    page = reviewer.go(f"/training/datasets/{dataset}")
    page.get_by_role("link", name="Next page").click()
    expect(page.locator("tbody tr:has(input[name=ids])")).to_have_count(10)

    page.get_by_role("link", name="First page").click()
    page.get_by_label("Order").select_option("least_sure")
    page.get_by_label("Confidence from").fill("0.2")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("tr:has(input[name=ids])").first).to_contain_text("message 20")
    expect(page).to_have_url(re.compile("minConfidence=0.2"))


def test_many_examples_are_labelled_at_once(site: Site, reviewer: Visitor, dataset: str) -> None:
    site.receive(dataset, *({"message_text": f"m {i}", "confidence": 0.4} for i in range(5)))
    page = reviewer.go(f"/training/datasets/{dataset}")
    boxes = page.locator("input[name=ids]")
    boxes.nth(0).check()
    boxes.nth(1).check()
    page.get_by_label("New label").fill("smalltalk")
    page.get_by_role("button", name="Label", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("2 reviewed")

    page.get_by_label("Tag").select_option("needs_review")
    page.get_by_role("button", name="Show").click()
    page.get_by_label("Which").select_option("all")
    page.get_by_role("button", name="Mark as reviewed").click()
    expect(page.get_by_role("status")).to_contain_text("3 reviewed")
    labels = site.query(
        'SELECT intent, count(*) FROM "Example" WHERE "datasetId" = %s '
        "AND tags @> ARRAY['reviewed'] GROUP BY 1 ORDER BY 2",
        dataset,
    )
    assert labels == [("smalltalk", 2), ("track_order", 3)]


def test_what_is_found_is_exported(site: Site, reviewer: Visitor, dataset: str) -> None:
    site.receive(dataset, *({"message_text": f"m {i}", "confidence": i / 10} for i in range(10)))
    page = reviewer.go(f"/training/datasets/{dataset}?minConfidence=0.75")
    page.get_by_label("Export what is found as").select_option("csv")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    text = download.value.path().read_text()
    assert ("m 8" in text, "m 9" in text, "m 7" in text) == (True, True, False)
    assert "+919876543210" not in text


def test_training_starts_with_a_button_and_shows_its_progress(
    site: Site, visit: Visit, dataset: str
) -> None:
    site.receive(dataset, {"message_text": "one"})
    page = visit().sign_in(site.key(Scope.READ, Scope.TRAIN), f"/training/datasets/{dataset}")
    page.get_by_role("button", name="Train a model").click()
    expect(page.locator("#jobs")).to_contain_text("Pending")

    site.query(
        "UPDATE training_job SET status = 'RUNNING', progress = 0.4 WHERE dataset_id = %s", dataset
    )

    expect(page.locator("#jobs")).to_contain_text("40%")
    site.query("UPDATE training_job SET status = 'CANCELLED' WHERE dataset_id = %s", dataset)


def test_a_bulk_action_on_nothing_says_what_to_do(
    site: Site, reviewer: Visitor, dataset: str
) -> None:
    site.receive(dataset, {"message_text": "one"})
    page = reviewer.go(f"/training/datasets/{dataset}")
    page.get_by_role("button", name="Mark as reviewed").click()
    expect(page.get_by_role("alert")).to_contain_text("tick some messages first")
    reviewer.troubles = [t for t in reviewer.troubles if "422" not in t]


def test_a_phrase_as_script_stays_a_phrase(site: Site, reviewer: Visitor, dataset: str) -> None:
    evil = "<script>document.title='taken'</script><img src=x onerror=alert(1)>"
    site.receive(dataset, {"message_text": evil, "intent": "</a><b>x", "confidence": 0.4})
    for path in (f"/training/datasets/{dataset}", f"/?datasetId={dataset}"):
        page = reviewer.go(path)
        settle(page)
        expect(page.get_by_text("<script>").first).to_be_visible()
        assert "taken" not in page.title()


def test_signing_in_leads_where_one_wanted_to_go(site: Site, visit: Visit) -> None:
    visitor = visit()
    page = visitor.sign_in(site.key(Scope.READ), "/pipeline?datasetId=ds-auto-training")
    expect(page).to_have_url(re.compile(r"/pipeline\?datasetId=ds-auto-training"))
    (cookie,) = visitor.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")

    page.get_by_role("button", name="Sign out").click()
    visitor.go("/")
    expect(page).to_have_url(re.compile("/sign-in"))


def test_a_wrong_key_is_told_so(site: Site, visit: Visit) -> None:
    visitor = visit()
    page = visitor.go("/sign-in?next_page=https://evil.example/")
    page.get_by_label("Your API key").fill("il_no_such")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not known")
    visitor.troubles.clear()
    page.get_by_label("Your API key").fill(site.key(Scope.READ))
    page.keyboard.press("Enter")
    expect(page).to_have_url(site.url + "/")


def test_a_revoked_key_ends_its_sessions(site: Site, visit: Visit) -> None:
    key = site.key(Scope.READ)
    visitor = visit()
    visitor.sign_in(key)
    site.services.keys.revoke(key.split("_")[1])
    # The live list notices by itself, once the key is no longer remembered.
    expect(visitor.page).to_have_url(re.compile("/sign-in"), timeout=15_000)


def test_what_a_key_may_not_do_is_not_offered_and_refused(
    site: Site, visit: Visit, dataset: str
) -> None:
    site.receive(dataset, {"message_text": "one", "confidence": 0.4})
    visitor = visit()
    page = visitor.sign_in(site.key(Scope.READ, datasets=[dataset]), f"/?datasetId={dataset}")
    visitor.go(f"/training/datasets/{dataset}")
    expect(page.get_by_role("button", name="Mark as reviewed")).to_have_count(0)
    for path in (f"/review?datasetId={dataset}", WEEK, "/pipeline"):
        visitor.go(path)
        expect(page.get_by_role("alert")).to_contain_text("This key")
    visitor.troubles = [t for t in visitor.troubles if "403" not in t]


def test_the_first_key_may_do_everything_but_see_senders(site: Site, visit: Visit) -> None:
    page = visit().sign_in(ADMIN_KEY, WEEK)
    expect(page.get_by_role("button", name="Delete")).to_be_visible()
    expect(page.locator("tbody").last).not_to_contain_text("+9100000")


def test_colours_are_remembered(reviewer: Visitor) -> None:
    page = reviewer.go("/audit")
    page.get_by_role("button", name="Colours: auto").click()
    page.get_by_role("button", name="Colours: light").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    reviewer.go("/pipeline")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
