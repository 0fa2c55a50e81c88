"""What an event keeps of the person who wrote it, in each mode."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64encode, urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from intentloop_schemas import Event, PiiMode, PiiRule, event_identity
from intentloop_schemas.pii_settings import PiiSettings

PHONE = "+919876543210"
KEY = b"a long random text"
MASK = PiiRule(PiiMode.MASK)
HMAC = PiiRule(PiiMode.HMAC, KEY)
HIDING = [MASK, HMAC]


def event(**changes: Any) -> Event:
    given = {
        "phoneNumber": PHONE,
        "messageText": "where is my order?",
        "intent": "track_order",
        "confidence": 0.95,
        "timestamp": 1_698_345_600_000,
    }
    return Event.model_validate({**given, **changes})


def test_plain_keeps_an_event_as_it_is() -> None:
    given = event(messageId="wamid.1", sessionId=PHONE)
    assert PiiRule().hide(given) is given


def test_mask_keeps_the_ends_of_a_sender() -> None:
    assert MASK.hide(event()).phone_number == "+91******3210"


def test_hmac_is_the_first_128_bits_as_base64url_and_may_never_change() -> None:
    digest = hmac.new(KEY, PHONE.encode(), hashlib.sha256).digest()
    expected = "h:" + urlsafe_b64encode(digest[:16]).decode()[:22]
    assert HMAC.hide(event()).phone_number == expected == "h:eGKHHOlaNcD4YneMmrjP1g"


def test_a_pseudonym_depends_on_the_key_and_on_the_sender_alone() -> None:
    other = PiiRule(PiiMode.HMAC, b"another")
    pseudonyms = {
        rule.pseudonym(sender) for rule in (HMAC, other) for sender in (PHONE, "+15550100")
    }
    assert len(pseudonyms) == 4
    assert HMAC.hide(event(messageText="other", sessionId="s")).phone_number in pseudonyms


@pytest.mark.parametrize("rule", HIDING)
def test_an_event_s_own_id_stays_and_a_derived_one_has_to_be_taken_before(rule: PiiRule) -> None:
    assert rule.hide(event(eventId="mine")).event_id == "mine"
    assert event_identity(rule.hide(event())) != event_identity(event())


@pytest.mark.parametrize("rule", HIDING)
@pytest.mark.parametrize(
    "changes",
    [
        {"sessionId": PHONE},
        {"sessionId": "web-9876543210-7"},
        {"messageId": "wamid." + b64encode(b"\x1c\x18\x0c919876543210\x15\x02").decode()},
        {"messageText": f"call {PHONE}"},
        {"messageText": "call (+91) 98765-43210 please"},
        {"messageText": "९८७६५४३२१० पर कॉल करें"},
    ],
)
def test_no_other_field_gives_the_number_away(rule: PiiRule, changes: dict[str, str]) -> None:
    hidden = json.loads(rule.hide(event(**changes)).to_json())
    text = json.dumps(hidden, ensure_ascii=False)
    shown = [PHONE, "9876543210", "98765-43210", "९८७६५४३२१०", b64encode(b"91987654").decode()]
    assert not [number for number in shown if number in text]
    assert "messageId" not in hidden


@pytest.mark.parametrize(
    ("rule", "expected"),
    [(MASK, "is +91******3210 mine? I paid 499"), (HMAC, "is ************* mine? I paid 499")],
)
def test_a_text_keeps_its_length_and_all_but_the_numbers(rule: PiiRule, expected: str) -> None:
    assert rule.hide(event(messageText=f"is {PHONE} mine? I paid 499")).message_text == expected


@pytest.mark.parametrize("rule", HIDING)
def test_a_sender_that_is_no_number_is_hidden_in_the_text_unless_it_is_a_mere_word(
    rule: PiiRule,
) -> None:
    hidden = rule.hide(event(phoneNumber="anna.kumar", messageText="anna.kumar here"))
    assert "anna" not in hidden.message_text
    assert rule.hide(event(phoneNumber="a", messageText="a banana")).message_text == "a banana"


@pytest.mark.parametrize("rule", HIDING)
def test_what_says_nothing_of_a_person_stays(rule: PiiRule) -> None:
    kept = {
        "intent",
        "confidence",
        "timestamp",
        "current_step",
        "channel",
        "dataset_id",
        "language",
    }
    given = event(currentStep="home", language="hi", eventId="mine")
    assert rule.hide(given).model_dump(include=kept) == given.model_dump(include=kept)


texts = st.text(
    st.characters(exclude_characters="\x00", exclude_categories=("Cs",)), min_size=1, max_size=60
)
numbers = st.text("+0123456789 -()", min_size=1, max_size=60)
any_event = st.builds(
    lambda sender, text, session: event(phoneNumber=sender, messageText=text, sessionId=session),
    texts | numbers | st.just(PHONE),
    texts | numbers | numbers.map(lambda number: f"{PHONE}{number}"),
    st.none() | texts,
)


@given(st.sampled_from(HIDING), any_event)
def test_hidden_events_are_valid_and_stay_as_they_are(rule: PiiRule, given: Event) -> None:
    hidden = rule.hide(given)
    assert Event.model_validate_json(hidden.to_json()) == hidden
    assert len(hidden.message_text) == len(given.message_text)
    assert rule.hide(hidden) == hidden


@given(st.from_regex(r"\+?[0-9]{7,15}", fullmatch=True), st.sampled_from(["", " ", "x", "\n", "."]))
def test_no_phone_number_survives_in_a_text(number: str, around: str) -> None:
    for rule in HIDING:
        assert number not in rule.text(f"{around}{number}{around}")


# Settings


def test_the_mode_and_the_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert PiiSettings().rule() == PiiRule()
    monkeypatch.setenv("INTENTLOOP_PII_MODE", "hmac")
    monkeypatch.setenv("INTENTLOOP_PII_KEY", "clé")
    assert PiiSettings().rule() == PiiRule(PiiMode.HMAC, "clé".encode())
    assert "clé" not in repr(PiiSettings())
    assert "cl" not in repr(PiiSettings().rule()).removeprefix("PiiRule(mode=<PiiMode.HMAC")


def test_hmac_without_a_key_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTENTLOOP_PII_MODE", "hmac")
    with pytest.raises(ValueError, match="INTENTLOOP_PII_KEY is not set; set it to a long"):
        PiiSettings().rule()
    with pytest.raises(ValueError, match="hmac needs a key"):
        PiiRule(PiiMode.HMAC)


def test_a_mode_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTENTLOOP_PII_MODE", "hashed")
    with pytest.raises(ValidationError, match="'plain', 'mask' or 'hmac'"):
        PiiSettings()
