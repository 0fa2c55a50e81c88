"""A dead letter: its headers, its line of JSON, and the quarantine of what is too large."""

from __future__ import annotations

import json
import os
from base64 import b64decode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from intentloop_schemas import DeadLetter, DeadLetterReason
from intentloop_stream.quarantine import KEPT_BYTES, Quarantine, QuarantineError

maybe_bytes = st.none() | st.binary(max_size=50)
letters = st.builds(
    DeadLetter,
    reason=st.sampled_from(DeadLetterReason),
    error=st.text(st.characters(exclude_categories=["Cs"]), max_size=50),
    topic=st.from_regex(r"[a-z.]{1,20}", fullmatch=True),
    partition=st.integers(0, 100),
    offset=st.integers(0, 2**62),
    timestamp=st.integers(0, 2**50),
    truncated=st.none() | st.integers(0, 2**40),
    quarantine=st.none() | st.just("conversations-0-7-abc"),
    key=maybe_bytes,
    value=maybe_bytes,
)


def letter(**changes: object) -> DeadLetter:
    given = {
        "reason": DeadLetterReason.INVALID_JSON,
        "error": "not JSON",
        "topic": "conversations",
        "partition": 3,
        "offset": 17,
        "timestamp": 1_760_000_000_000,
        "key": b"+919876543210",
        "value": b"x" * 5_000,
    }
    return DeadLetter.model_validate({**given, **changes})


@given(letters)
def test_a_letter_comes_back_from_its_record(original: DeadLetter) -> None:
    back = DeadLetter.from_record(original.headers(), original.key, original.value)

    assert back == original


@given(letters)
def test_its_line_of_json_holds_its_bytes_and_says_whether_they_are_text(
    original: DeadLetter,
) -> None:
    line = json.loads(original.to_json())

    for name in ("key", "value"):
        data = getattr(original, name)
        if f"{name}Base64" in line:
            assert b64decode(line[f"{name}Base64"]) == data
        else:
            assert line[name] == (None if data is None else data.decode())
    assert line["reason"] == original.reason
    assert (line["topic"], line["partition"], line["offset"]) == original.place[:3]


def test_an_ordinary_letter_has_the_six_headers_and_no_other() -> None:
    assert [name for name, _ in letter().headers()] == [
        "dlq.reason",
        "dlq.error",
        "dlq.topic",
        "dlq.partition",
        "dlq.offset",
        "dlq.timestamp",
    ]


@pytest.mark.parametrize("headers", [[], [("dlq.reason", None)], [("dlq.reason", b"\xff")]])
def test_a_record_that_is_no_letter_is_an_error(headers: list[tuple[str, bytes | None]]) -> None:
    with pytest.raises(ValidationError):
        DeadLetter.from_record(headers, None, None)


@pytest.mark.parametrize("key", [b"+919876543210", b"k" * 3_000, b"", None])
@pytest.mark.parametrize("value", [os.urandom(100_000), b"", None])
def test_the_quarantine_gives_back_every_byte(
    tmp_path: Path, key: bytes | None, value: bytes | None
) -> None:
    original = letter(key=key, value=value)
    quarantine = Quarantine(tmp_path / "a" / "quarantine")

    cut = quarantine.keep(original)

    assert cut.truncated == len(value or b"")
    assert len(cut.value or b"") <= KEPT_BYTES
    assert len(cut.key or b"") <= KEPT_BYTES
    if cut.value:
        assert (quarantine.folder / str(cut.quarantine)).read_bytes() == value
    whole = quarantine.restore(DeadLetter.from_record(cut.headers(), cut.key, cut.value))
    assert (whole.key, whole.value) == (key, value)


def test_its_files_are_on_disk_and_private_before_it_answers(tmp_path: Path) -> None:
    synced = []

    def sync(descriptor: int) -> None:
        os.fsync(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((path, [each.name for each in path.iterdir()] if path.is_dir() else None))

    quarantine = Quarantine(tmp_path / "quarantine", sync=sync)
    name = str(quarantine.keep(letter()).quarantine)

    assert (quarantine.folder / f"{name}.part", None) in synced
    assert synced[-1] == (quarantine.folder, [name])
    assert (quarantine.folder / name).stat().st_mode & 0o077 == 0
    assert [path.name for path in quarantine.folder.iterdir()] == [name]


def test_another_record_at_the_same_place_keeps_a_file_of_its_own(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path)
    first, second = letter(), letter(value=b"y" * 5_000)

    cuts = [quarantine.keep(each) for each in (first, second, first)]

    assert cuts[0].quarantine == cuts[2].quarantine
    assert [quarantine.restore(cut).value for cut in cuts[:2]] == [first.value, second.value]


def test_a_file_that_is_elsewhere_is_said_to_be(tmp_path: Path) -> None:
    cut = Quarantine(tmp_path / "here").keep(letter())

    with pytest.raises(QuarantineError, match=r"not in .* on this machine: look in FALLBACK_DIR"):
        Quarantine(tmp_path / "there").restore(cut)


def test_a_damaged_file_is_not_passed_off_as_the_record(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path)
    cut = quarantine.keep(letter())
    (tmp_path / str(cut.quarantine)).write_bytes(b"x" * 4_999)

    with pytest.raises(QuarantineError, match="damaged"):
        quarantine.restore(cut)


def test_a_forged_name_reads_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")

    with pytest.raises(QuarantineError, match="no name"):
        Quarantine(tmp_path / "quarantine").restore(letter(quarantine="../secret", truncated=6))
