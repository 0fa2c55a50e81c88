"""Senders taken out of the files of spools: theirs goes, all else stays as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from intentloop_schemas import Batch, DeadLetter, DeadLetterReason
from intentloop_sink.spool import Spool, SpooledBatch, erase_spools
from support.batches import LogRecord, batch, entry, tens

ASHA, BELA = "+919876543210", "+15550100"
HOSTILE = 'x",needs_review,"\n\\u0000 {"phoneNumber":"+919876543210"} 👍🏽'


def log(count: int = 40) -> list[Batch]:
    return tens([entry(n, phone_number=(ASHA, BELA)[n % 2]) for n in range(count)])


def spool_of(folder: Path, writer: str, batches: list[Batch]) -> None:
    with Spool(folder, writer) as spool:
        spool.append(batches)


def read(folder: Path, writer: str) -> list[Batch]:
    with Spool(folder, writer) as spool:
        return [spooled.batch for spooled in spool.read()]


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_events_of_a_sender_go_and_the_ranges_stay(tmp_path: Path) -> None:
    spool_of(tmp_path, "w", log())
    sizes = [path.stat().st_size for path in tmp_path.glob("w/*.jsonl")]

    (erasure,) = erase_spools(tmp_path, [ASHA])

    assert erasure == ("w", 20, False)
    assert ASHA.encode() not in everything(tmp_path)
    left = read(tmp_path, "w")
    assert [(b.first_position, b.next_position) for b in left] == [
        (n, n + 10) for n in range(0, 40, 10)
    ]
    assert {(len(b.entries), b.rejected, b.suppressed) for b in left} == {(5, 5, 5)}
    assert {e.event.phone_number for b in left for e in b.entries} == {BELA}
    assert [path.stat().st_size for path in tmp_path.glob("w/*.jsonl")] == sizes
    assert [e.events for e in erase_spools(tmp_path, [ASHA])] == [0]


def test_a_spool_in_use_goes_on_where_it_was(tmp_path: Path) -> None:
    with Spool(tmp_path, "w", segment_bytes=2_000) as spool:
        spool.append(log())
        reader = spool.read()
        spool.done([next(reader)])

        assert spool.erase([ASHA]) == 20

        assert spool.events == 15
        rest: list[SpooledBatch] = list(spool.read())
        assert [s.batch.first_position for s in rest] == [10, 20, 30]
        spool.done(rest)
        assert spool.is_empty
        assert spool.size == 0
        spool.append(tens([entry(40, phone_number=ASHA)]))
        assert spool.erase([ASHA]) == 1


def test_a_held_spool_is_looked_at_and_left_alone(tmp_path: Path) -> None:
    with Spool(tmp_path, "w") as spool:
        spool.append(log())
        before = everything(tmp_path)
        assert list(erase_spools(tmp_path, [ASHA])) == [("w", 20, True)]
        assert everything(tmp_path) == before


def test_a_dry_run_counts_and_changes_nothing(tmp_path: Path) -> None:
    spool_of(tmp_path, "w", log())
    before = everything(tmp_path)

    assert list(erase_spools(tmp_path, [ASHA, BELA], dry_run=True)) == [("w", 40, False)]

    assert everything(tmp_path) == before


def test_what_others_wrote_stays_to_the_byte_whatever_it_says(tmp_path: Path) -> None:
    odd = [
        entry(0, phone_number=HOSTILE, message_text=HOSTILE),
        entry(1, phone_number=BELA, message_text=f"call {ASHA}"),
        replace(entry(2, phone_number=BELA), record=LogRecord(2, key=b"\xff", value=b"{ }")),
    ]
    spool_of(tmp_path, "w", [batch(odd)])
    before = everything(tmp_path)
    (whole,) = read(tmp_path, "w")

    assert [e.events for e in erase_spools(tmp_path, [ASHA])] == [0]
    assert everything(tmp_path) == before
    assert [e.events for e in erase_spools(tmp_path, [HOSTILE])] == [1]
    (left,) = read(tmp_path, "w")
    assert left.entries == whole.entries[1:]


def test_damaged_lines_of_a_sender_go_too(tmp_path: Path) -> None:
    spool_of(tmp_path, "w", log(20))
    (path,) = tmp_path.glob("w/*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0].replace(b"track_order", b"track_ord!r", 1) + lines[1])
    with Spool(tmp_path, "w") as spool:
        assert spool.damage.lines == 1
    assert ASHA.encode() in (tmp_path / "w" / "corrupt" / path.name).read_bytes()

    (erasure,) = erase_spools(tmp_path, [ASHA])

    # Its five events, and the damaged line in the segment and where it was set aside.
    assert erasure.events == 5 + 2
    assert ASHA.encode() not in everything(tmp_path)
    (left,) = read(tmp_path, "w")
    assert left.first_position == 10


def test_damaged_lines_of_others_stay(tmp_path: Path) -> None:
    spool_of(tmp_path, "w", tens([entry(n, phone_number=BELA) for n in range(10)]))
    (path,) = tmp_path.glob("w/*.jsonl")
    path.write_bytes(path.read_bytes().replace(b"track_order", b"track_ord!r", 1))
    with Spool(tmp_path, "w"):
        pass
    before = (tmp_path / "w" / "corrupt" / path.name).read_bytes()

    assert [e.events for e in erase_spools(tmp_path, [ASHA])] == [0]
    assert (tmp_path / "w" / "corrupt" / path.name).read_bytes() == before


def letter(key: bytes | None, value: bytes | None) -> DeadLetter:
    reason = DeadLetterReason.CONFLICTING_DUPLICATE
    return DeadLetter(
        reason=reason,
        error="",
        topic="t",
        partition=0,
        offset=1,
        timestamp=1,
        key=key,
        value=value,
    )


@pytest.mark.parametrize(
    ("key", "value", "is_theirs"),
    [
        (ASHA.encode(), None, True),
        (ASHA.encode(), b"\xff\xfe", True),
        (None, b'{"phoneNumber": "\\u002b919876543210"', True),
        (b"0", b'\xff"phoneNumber":"+919876543210"', True),
        (BELA.encode(), b'{"phoneNumber":"+15550100","messageText":"+919876543210"}', False),
        (BELA.encode(), b'{"messageText":"\\"phoneNumber\\":\\"+919876543210\\""}', False),
        (None, b"+919876543210", False),
    ],
)
def test_refused_records_of_a_sender_go_too(
    tmp_path: Path, key: bytes | None, value: bytes | None, *, is_theirs: bool
) -> None:
    with Spool(tmp_path, "w") as spool:
        spool.quarantine([letter(key, value), letter(b"other", None)])

    assert [e.events for e in erase_spools(tmp_path, [ASHA], dry_run=True)] == [int(is_theirs)]
    assert [e.events for e in erase_spools(tmp_path, [ASHA])] == [int(is_theirs)]
    kept = (tmp_path / "w" / "refused" / "refused.jsonl").read_bytes()
    assert kept.count(b"\n") == 2 - is_theirs
