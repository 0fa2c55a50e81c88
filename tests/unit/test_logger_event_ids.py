"""Event ids that a redelivered message repeats, and ids that nothing repeats."""

from __future__ import annotations

from hashlib import sha256
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intentloop_producer.conversion import message_event_id, uuid7

NOW = 1_698_345_600_000


def test_a_message_has_the_same_id_each_time_and_it_may_never_change() -> None:
    digest = sha256(b"whatsapp\n+919876543210\nwamid.1").hexdigest()
    assert message_event_id("whatsapp", "+919876543210", "wamid.1") == f"m1-{digest[:32]}"
    assert message_event_id("whatsapp", "+919876543210", "wamid.1") == (
        "m1-a276512d2e444e433bc2714bdd8efcf1"
    )


@pytest.mark.parametrize(
    "other",
    [
        ("telegram", "+919876543210", "wamid.1"),
        ("whatsapp", "+919876543211", "wamid.1"),
        ("whatsapp", "+919876543210", "wamid.2"),
    ],
)
def test_channel_sender_and_message_each_make_it_another(other: tuple[str, str, str]) -> None:
    assert message_event_id(*other) != message_event_id("whatsapp", "+919876543210", "wamid.1")


@given(st.text(max_size=64), st.text(max_size=64), st.text(max_size=128))
def test_ids_fit_the_contract(channel: str, sender: str, message: str) -> None:
    # Lone surrogates never come this far: they are no valid event.
    parts = [part.encode("utf-8", "ignore").decode() for part in (channel, sender, message)]
    assert len(message_event_id(*parts)) <= 64


def test_a_uuid_of_version_7_holds_time_and_randomness() -> None:
    known = UUID("017f22e2-79b0-7cc3-98c4-dc0c0c07398f")  # the example of RFC 9562
    entropy = bytes.fromhex("0cc318c4dc0c0c07398f")
    assert uuid7(0x017F22E279B0, entropy) == known


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_version_variant_and_time_stand_where_they_belong(now: int, entropy: bytes) -> None:
    made = uuid7(now, entropy)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made.int >> 80 == now


def test_later_ids_sort_later() -> None:
    ids = [str(uuid7(NOW + n, bytes(10))) for n in range(50)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 50
