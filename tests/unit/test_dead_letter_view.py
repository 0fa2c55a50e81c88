"""What `intentloop dlq` prints: no senders, nothing a terminal obeys, and all of the rest."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intentloop_cli import dlq_view
from intentloop_schemas import DeadLetter, DeadLetterReason
from intentloop_schemas.masking import masked
from intentloop_stream.letter_reader import Found

PHONE = "+919876543210"


def letter(value: bytes | None, **changes: object) -> DeadLetter:
    given = {
        "reason": DeadLetterReason.INVALID_EVENT,
        "error": f"phoneNumber: {PHONE} is wrong",
        "topic": "conversations",
        "partition": 3,
        "offset": 17,
        "timestamp": 1_760_000_000_000,
        "key": PHONE.encode(),
        "value": value,
    }
    return DeadLetter.model_validate({**given, **changes})


def shown(value: bytes | None, *, reveal: bool = False, **changes: object) -> str:
    return dlq_view.description(letter(value, **changes), is_whole=True, reveal=reveal)


@pytest.mark.parametrize(
    ("sender", "shown"),
    [
        (PHONE, "+91******3210"),
        ("web-session-81f3", "web*********81f3"),
        ("12345", "***45"),
        ("ab", "*b"),
        ("a", "*"),
    ],
)
def test_the_middle_of_a_sender_is_hidden(sender: str, shown: str) -> None:
    assert masked(sender) == shown


@given(st.text(min_size=1, max_size=40))
def test_something_of_every_sender_is_hidden(sender: str) -> None:
    shown = masked(sender)

    assert len(shown) == len(sender)
    assert "*" in shown


@pytest.mark.parametrize(
    "value",
    [
        {"phoneNumber": PHONE, "messageText": f"call {PHONE} or 98765 43210", "timestamp": 1},
        {"phoneNumber": 919876543210},
        {"phoneNumber": [PHONE, {"phoneNumber": PHONE}]},
        {"messageText": "call me: (+91) 98765-43210", "to": 919876543210},
        {PHONE: {"sessionId": f"s-{PHONE}"}},
        [PHONE],
        PHONE,
    ],
)
def test_no_phone_number_is_shown_in_json_unless_revealed(value: object) -> None:
    data = json.dumps(value).encode()
    for secret in ("98765", "76543"):
        assert secret not in shown(data)
    assert "98765" in shown(data, reveal=True)
    assert PHONE in shown(data, reveal=True)


@pytest.mark.parametrize("value", [b"{" + PHONE.encode(), b"\xff\x00 98765 43210 \xff"])
def test_no_phone_number_is_shown_in_a_hex_dump_unless_revealed(value: bytes) -> None:
    assert b"98765".hex(" ") not in shown(value)
    assert b"98765".hex(" ") in shown(value, reveal=True)


def test_a_sender_that_is_no_phone_number_is_hidden_wherever_it_stands() -> None:
    data = json.dumps({"phoneNumber": "telegram:anna.k", "sessionId": "telegram:anna.k/1"}).encode()

    text = shown(data, key=b"telegram:anna.k", error="telegram:anna.k is wrong")

    assert "anna" not in text


def test_times_and_confidences_stay_readable() -> None:
    data = json.dumps({"timestamp": 1_760_000_000_000, "confidence": 0.9500000000000001}).encode()

    text = shown(data)

    assert '"timestamp": 1760000000000' in text
    assert '"confidence": 0.9500000000000001' in text
    assert "2025-10-09 08:53:20+00:00" in text


@pytest.mark.parametrize("value", [b"{", b"[" * 100_000, b"1" * 5_000, b"\xff\xfe", b""])
def test_what_is_no_json_is_dumped(value: bytes) -> None:
    assert f"Value, {len(value)} bytes:" in shown(value)


def test_a_record_without_a_value_is_said_to_have_none() -> None:
    assert "The record has no value." in shown(None)


def test_of_a_truncated_record_the_beginning_is_dumped() -> None:
    cut = letter(b"{}", truncated=3_000_000, quarantine="f")

    text = dlq_view.description(cut, is_whole=False, reveal=False)

    assert "the first 2 of 3000000 bytes" in text


def test_a_hex_dump_has_offsets_bytes_and_characters() -> None:
    assert dlq_view.hex_dump(b"0123456789abcdef\x00\xffAZ").splitlines() == [
        "00000000  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  0123456789abcdef",
        "00000010  00 ff 41 5a                                      ..AZ",
    ]


@pytest.mark.parametrize("hostile", ["\x1b[2J", "\u202e", "\x9b31m", "\r", "\u2028"])
def test_nothing_that_a_terminal_obeys_is_printed(hostile: str) -> None:
    data = json.dumps({"messageText": hostile}).encode()

    text = shown(data, error=hostile, key=hostile.encode())

    assert hostile not in text
    found = Found(letter(data, error=hostile, key=hostile.encode()), 0, 0, 0)
    assert hostile not in dlq_view.Overview([found], limit=5, oldest_first=False).table(set())


@pytest.mark.parametrize(("oldest_first", "offsets"), [(False, ["9", "8"]), (True, ["0", "1"])])
def test_the_overview_shows_the_newest_or_oldest_and_counts_all(
    oldest_first: bool, offsets: list[str]
) -> None:
    found = [Found(letter(b"{}", offset=n), 1_000 + n, 0, n) for n in (3, 9, 0, 1, 8, 5)]

    overview = dlq_view.Overview(found, limit=2, oldest_first=oldest_first)

    rows = [line.split() for line in overview.table({letter(b"", offset=9).place}).splitlines()]
    assert rows[0] == ["written", "partition", "offset", "reason", "retried", "sender", "error"]
    assert [row[3] for row in rows[1:]] == offsets
    assert [row[5] for row in rows[1:]] == ["yes" if n == "9" else "no" for n in offsets]
    assert overview.summary() == "Dead letters: 6 (invalid_event 6), 2 shown."
    assert PHONE not in overview.table(set())
