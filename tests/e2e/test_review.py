"""The review queue in real browsers: by keyboard alone, and never the same card twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from conftest import Eventually
from e2e.conftest import Site, Visitor
from intentloop_admin.security.scopes import Scope

Visit = Callable[..., Visitor]


@pytest.fixture
def start(site: Site, visit: Visit, dataset: str, eventually: Eventually) -> Callable[..., Page]:
    """A function that makes cards of texts and shows a new reviewer the first."""

    def begin(*texts: str, scopes: tuple[Scope, ...] = (Scope.READ, Scope.REVIEW)) -> Page:
        if texts:
            receive(site, dataset, eventually, *texts)
        return visit().sign_in(site.key(*scopes), f"/review?datasetId={dataset}")

    return begin


def receive(site: Site, dataset: str, eventually: Eventually, *texts: str) -> None:
    """Store flagged messages and wait until the server has made cards of them."""
    sql = "SELECT coalesce(sum(copies), 0) FROM review_card WHERE dataset_id = %s"
    before = site.query(sql, dataset)[0][0]
    guesses = [{"intent": "cancel_order", "confidence": 0.35}]
    site.receive(
        dataset,
        *({"message_text": t, "confidence": 0.4, "alternatives": guesses} for t in texts),
    )
    eventually(lambda: site.query(sql, dataset)[0][0] == before + len(texts))


def card(page: Page) -> str:
    return page.locator("[data-card]").inner_text()


def press(page: Page, *keys: str) -> None:
    """Press keys, and wait for the next page."""
    with page.expect_navigation():
        for key in keys:
            page.keyboard.press(key)


def labels(site: Site, dataset: str) -> dict[str, tuple[str, list[str]]]:
    rows = site.query(
        'SELECT input, intent, tags[4:] FROM "Example" WHERE "datasetId" = %s', dataset
    )
    return {text: (intent, tags) for text, intent, tags in rows}


def test_thirty_cards_by_keyboard_alone(
    site: Site, start: Callable[..., Page], dataset: str
) -> None:
    words = [f"{a} {b}" for a in ("alpha", "river", "stone", "cloud", "tiger", "lemon")
             for b in ("mornings", "of copper", "under glass", "in July", "twice")]  # fmt: skip
    page = start(*words)
    wanted: dict[str, tuple[str, list[str]]] = {}
    flagged, reviewed = ["needs_review"], ["reviewed"]
    moves = {
        "a": ("track_order", reviewed),
        "o": ("out_of_scope", reviewed),
        "r": ("track_order", ["reviewed", "rejected"]),
        "u": ("track_order", flagged),
        "1": ("cancel_order", reviewed),
        "c": ("brand_new", reviewed),
    }
    for number in range(30):
        key, outcome = list(moves.items())[number % 6]
        wanted[card(page)] = outcome
        if key == "c":
            page.keyboard.press("c")
            page.keyboard.type("brand_new")
            press(page, "Enter")
        else:
            press(page, key)
        expect(page.locator("#progress")).to_have_text(f"{number + 1} of 200 today")

    expect(page.get_by_text("Nothing to review here")).to_be_visible()
    assert len(wanted) == 30
    assert labels(site, dataset) == wanted
    assert site.query(
        "SELECT count(*) FROM review_decision WHERE dataset_id = %s AND reviewer <> ''", dataset
    ) == [(30,)]


def test_undo_brings_the_card_back(site: Site, start: Callable[..., Page], dataset: str) -> None:
    page = start("wrong key", "wrong key")
    press(page, "r")
    expect(page.get_by_text("Nothing to review here")).to_be_visible()

    press(page, "z")

    assert card(page) == "wrong key"
    expect(page.locator("#progress")).to_have_text("0 of 200 today")
    assert labels(site, dataset) == {"wrong key": ("track_order", ["needs_review"])}


def test_skip_goes_on_without_deciding(
    site: Site, start: Callable[..., Page], dataset: str
) -> None:
    page = start("first thing", "completely different")
    skipped = card(page)
    press(page, "s")
    assert card(page) != skipped
    press(page, "s")
    expect(page.get_by_text("you skipped it today")).to_be_visible()
    assert {tags[0] for _, tags in labels(site, dataset).values()} == {"needs_review"}


def test_two_browsers_never_share_a_card(start: Callable[..., Page]) -> None:
    ana = start("one of a kind", "another thing", "third in line", "last but one")
    ben = start()
    for _ in range(2):
        assert card(ana) != card(ben)
        press(ana, "a")
        press(ben, "a")
    expect(ana.get_by_text("Nothing to review here")).to_be_visible()


def test_the_same_card_again_after_a_reload(start: Callable[..., Page]) -> None:
    page = start("one of a kind", "another thing")
    shown = card(page)
    page.reload()
    assert card(page) == shown


def test_a_later_copy_of_a_decided_text_is_decided(
    site: Site, start: Callable[..., Page], dataset: str, eventually: Eventually
) -> None:
    page = start("bring it back")
    page.keyboard.press("c")
    page.keyboard.type("return_item")
    press(page, "Enter")

    receive(site, dataset, eventually, "Bring it back!")

    eventually(lambda: labels(site, dataset)["Bring it back!"] == ("return_item", ["reviewed"]))
    page.reload()
    expect(page.get_by_text("Nothing to review here")).to_be_visible()


def test_near_duplicates_are_decided_together_and_undone_together(
    site: Site, start: Callable[..., Page], dataset: str
) -> None:
    page = start("paneer tikka", "paneer tika", "panir tikka", "call me")
    while card(page) == "call me":
        press(page, "s")
    expect(page.locator("input[name=similar]")).to_have_count(2)

    press(page, "g", "1")

    decided = {t for t, (intent, _) in labels(site, dataset).items() if intent == "cancel_order"}
    assert decided == {"paneer tikka", "paneer tika", "panir tikka"}
    press(page, "z")
    assert {intent for intent, _ in labels(site, dataset).values()} == {"track_order"}


def test_an_empty_correction_decides_nothing(start: Callable[..., Page]) -> None:
    page = start("one of a kind")
    page.keyboard.press("c")
    press(page, "Enter")
    expect(page.get_by_role("alert")).to_contain_text("A correction needs an intent")
    assert card(page) == "one of a kind"


def test_senders_are_masked_unless_the_key_may_see_them(start: Callable[..., Page]) -> None:
    page = start("one of a kind")
    expect(page.locator(".facts")).to_contain_text("+91******3210")
    press(page, "s")
    seeing = start(scopes=(Scope.READ, Scope.REVIEW, Scope.PII))
    expect(seeing.locator(".facts")).to_contain_text("+919876543210")


def test_the_audit_shows_what_reviewers_judged(
    site: Site, start: Callable[..., Page], eventually: Eventually
) -> None:
    week = "ds-auto-training"
    sql = "SELECT count(*) FROM review_card WHERE dataset_id = %s AND queue = 'audit'"
    eventually(lambda: site.query(sql, week)[0][0] > 100)
    page = start()
    page.goto(f"{site.url}/review?datasetId={week}&queue=audit")
    for _ in range(3):
        press(page, "a")
    press(page, "o")
    page.get_by_role("link", name="Audit", exact=True).click()
    expect(page.locator(".tile", has_text="Precision").first).to_contain_text("75.0%")
    expect(page.locator("tbody", has_text="of 1").last).to_be_visible()
