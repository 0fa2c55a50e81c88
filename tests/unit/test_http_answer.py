"""What the backend's answers mean: nothing is believed that does not account for every event."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intentloop_producer.http_answer import (
    LONGEST_RETRY_AFTER,
    Answer,
    Divide,
    Outcome,
    Settled,
    Wait,
    outcome_of,
    refusal_of,
)

NOW = 1_698_345_600.0
PHONE = "+919876543210"


def answer(status: int, body: Any = None, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, named, body if isinstance(body, str) else json.dumps(body))


def outcome(status: int, body: Any = None, count: int = 3, **headers: str) -> Outcome:
    return outcome_of(answer(status, body, **headers), count, NOW)


def verdict(*indexes: int, count: int = 3) -> dict[str, Any]:
    errors = [{"index": index, "error": f"number {index} is wrong"} for index in indexes]
    told = {"errors": errors} if errors else {}
    return {"success": not errors, "count": count - len(errors), **told}


def test_success_settles_all() -> None:
    assert outcome(200, {**verdict(), "flaggedForReview": 1, "datasetId": "d"}) == Settled({})
    assert outcome(200, {**verdict(), "errors": None}) == Settled({})
    assert outcome(200, {**verdict(), "errors": []}) == Settled({})


def test_of_some_invalid_items_those_fail_and_the_others_are_delivered() -> None:
    expected = Settled({0: "number 0 is wrong", 2: "number 2 is wrong"})
    assert outcome(207, verdict(0, 2)) == expected


def test_when_all_are_invalid_each_has_its_reason() -> None:
    expected = {index: f"number {index} is wrong" for index in range(3)}
    assert outcome(422, verdict(0, 1, 2)) == Settled(expected)


@pytest.mark.parametrize(
    "body",
    [
        "<html>Please sign in to this network</html>",
        "",
        None,
        [],
        {"success": True},
        {"success": True, "count": 2},
        {"success": False, "count": 3},
        {"success": True, "count": 2, "errors": [{"index": 0, "error": "wrong"}]},
        {"success": False, "count": 2, "errors": [{"index": 3, "error": "wrong"}]},
        {"success": False, "count": 2, "errors": [{"index": -1, "error": "wrong"}]},
        {"success": False, "count": 2, "errors": [{"index": 0}]},
        {"success": False, "count": 2, "errors": ["wrong"]},
        {"success": False, "count": 2, "errors": "wrong"},
        "[" * 100_000,
    ],
)
@pytest.mark.parametrize("status", [200, 207])
def test_an_answer_that_does_not_account_for_every_event_settles_none(
    status: int, body: Any
) -> None:
    found = outcome(status, body)
    assert isinstance(found, Wait)
    assert found.is_lasting
    assert "is not that of intentloop: check ADMIN_BACKEND_URL" in found.why


@pytest.mark.parametrize("body", [{"detail": "too much"}, {"errors": [{"index": 0, "error": "x"}]}])
@pytest.mark.parametrize("status", [413, 422])
def test_a_request_that_is_refused_as_a_whole_may_be_taken_in_parts(status: int, body: Any) -> None:
    found = outcome(status, body)
    assert isinstance(found, Divide)
    assert str(status) in found.why


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "it answers 401 Unauthorized (no such key): check ADMIN_BACKEND_API_KEY"),
        (403, "ADMIN_BACKEND_API_KEY needs the right to send conversations"),
        (404, "it answers 404 Not Found (no such key): check ADMIN_BACKEND_URL"),
        (400, "it answers 400 Bad Request (no such key)"),
        (418, "418"),
        (299, "it answers 299"),
    ],
)
def test_what_only_a_person_can_help_with_says_what_to_do(status: int, says: str) -> None:
    found = outcome(status, {"title": "Sorry", "detail": "no such key"})
    assert isinstance(found, Wait)
    assert found.is_lasting
    assert says in found.why


def test_a_redirect_is_named_without_what_may_be_secret_in_it() -> None:
    found = outcome(308, location="https://user:hunter2@new.example/api?token=hunter2#hunter2")
    assert isinstance(found, Wait)
    assert found.is_lasting
    assert "it redirects to https://new.example/api (308), which is not followed" in found.why
    assert "hunter2" not in found.why


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520, 599])
def test_what_passes_by_itself_is_tried_again(status: int) -> None:
    found = outcome(status, "<html>")
    assert isinstance(found, Wait)
    assert not found.is_lasting
    assert found.retry_after is None
    assert f"it answers {status}" in found.why


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        (" 120 ", 120),
        ("99999999999999999999", LONGEST_RETRY_AFTER),
        (formatdate(NOW + 90, usegmt=True), 90),
        (formatdate(NOW - 90, usegmt=True), 0),
        ("-7", None),
        ("soon", None),
        ("\u0667", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_how_long_to_wait_is_told_in_seconds_or_as_a_date(
    status: int, given: str, seconds: float | None
) -> None:
    found = outcome(status, retry_after=given)
    assert isinstance(found, Wait)
    assert found.retry_after == seconds


@pytest.mark.parametrize("status", [207, 422, 503])
def test_what_the_backend_says_is_shown_short_on_one_line_and_without_numbers(status: int) -> None:
    said = f"first\r\nERROR {PHONE} \x1b[31m" + "x" * 5_000
    errors = [{"index": 0, "error": said}]
    found = outcome(status, {"success": False, "count": 0, "detail": said, "errors": errors}, 1)
    text = found.failures[0] if isinstance(found, Settled) else found.why
    assert text.isprintable()
    assert "+91******3210" in text
    assert len(text) < 300


def test_a_report_is_taken_with_any_success() -> None:
    assert [refusal_of(answer(status)) for status in (200, 201, 202, 204)] == [None] * 4
    assert refusal_of(answer(404, {"title": "no"})) == "it answers 404 Not Found (no)"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["success", "count", "errors", "index", "error"]), inner)
    ),
    max_leaves=10,
)


@given(
    st.integers(100, 999),
    json_values.map(json.dumps) | st.text(),
    st.dictionaries(st.sampled_from(["retry-after", "location"]), st.text()),
    st.integers(1, 1_000),
)
def test_any_answer_has_a_meaning(
    status: int, body: str, headers: dict[str, str], count: int
) -> None:
    found = outcome_of(Answer(status, headers, body), count, NOW)
    if isinstance(found, Settled):
        assert status in (200, 207, 422)
        assert all(0 <= index < count for index in found.failures)
    refusal_of(Answer(status, headers, body))
