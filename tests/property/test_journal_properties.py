"""Any events come back from the journal as they went in, in their order, whatever happened."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from intentloop_producer.journal import Journal, Segment
from intentloop_schemas import Event
from intentloop_schemas.lines import LINE_START, LineFormat

texts = st.text(
    st.characters(exclude_characters="\x00", exclude_categories=("Cs",)), min_size=1, max_size=40
)
tricky = st.sampled_from(['{"crc":"', "\n", "\r\n", "\u2028", '"}\n{"crc":"00000000","event":{}}'])
events = st.builds(
    lambda sender, text, intent, confidence, label: Event.model_validate(
        {
            "phone_number": sender,
            "message_text": text,
            "intent": intent,
            "confidence": confidence,
            "timestamp": 1_698_345_600_000,
            "session_id": label,
        },
        by_name=True,
    ),
    texts,
    texts | tricky,
    texts,
    st.floats(0, 1),
    st.none() | texts | tricky,
)
values = st.lists(events.map(Event.to_json), min_size=1, max_size=8)


def unsynced(_descriptor: int) -> None:
    """Leave it to the system when it writes: no machine stops in these tests."""


@contextmanager
def opened(root: Path) -> Iterator[Journal]:
    journal = Journal(root, 10_000_000, unsynced)
    try:
        journal.adopt()
        yield journal
    finally:
        journal.close()


def read_all(journal: Journal) -> tuple[list[bytes], int]:
    """Return what can be read, and how many lines were damaged."""
    found: list[bytes] = []
    damaged = 0
    while not journal.is_read:
        reading = journal.read()
        found += [value for _, value in reading.events]
        damaged += len(reading.damaged)
    return found, damaged


def left_by_a_dead_process(root: Path, content: bytes) -> None:
    folder = root / "1-dead"
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    (folder / "00000000000000000001-1-dead.jsonl").write_bytes(content)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), values),
        st.tuples(st.sampled_from(["read", "crash"]), st.none()),
        st.tuples(st.just("settle"), st.integers(0, 100)),
    ),
    max_size=12,
)


@given(steps, st.booleans())
@settings(max_examples=150, deadline=None)
def test_what_is_not_settled_comes_back_in_order(
    steps: list[tuple[str, object]], hand: bool
) -> None:
    with tempfile.TemporaryDirectory() as base:
        root = Path(base) / "0"
        root.mkdir()
        journal = Journal(root, 10_000_000, unsynced)
        expected: list[bytes] = []
        out: list[tuple[bytes, Segment]] = []
        for what, with_ in steps:
            if what == "append":
                is_next = journal.is_read
                segment, count = journal.append(with_)  # type: ignore[arg-type]
                assert count == len(with_)  # type: ignore[arg-type]
                expected += with_  # type: ignore[operator]
                if is_next and hand:
                    journal.hand_out(segment)
                    out += [(value, segment) for value in with_]  # type: ignore[attr-defined]
            elif what == "read" and not journal.is_read:
                reading = journal.read()
                out += [(value, reading.segment) for _, value in reading.events]
            elif what == "settle" and out:
                value, segment = out.pop(int(with_) % len(out))  # type: ignore[call-overload]
                expected.remove(value)
                journal.settle(segment)
            elif what == "crash":
                dead = journal
                shutil.copytree(root, root := root.with_name(str(int(root.name) + 1)))
                dead.close()
                journal, out = Journal(root, 10_000_000, unsynced), []
                journal.adopt()
                # What was settled may come once more, as long as its segment is there.
                found, damaged = read_all(journal)
                assert not damaged
                remaining = iter(found)
                assert all(value in remaining for value in expected)
                journal.close()
                journal, expected = Journal(root, 10_000_000, unsynced), found
                journal.adopt()
            assert journal.kept == len(expected)
        assert journal.close() == len(expected)
        assert len(expected) > 0 or not list(root.glob("*/*"))


@given(values, st.data())
@settings(max_examples=150, deadline=None)
def test_a_torn_tail_is_cut_wherever_it_was_torn(written: list[bytes], data: st.DataObject) -> None:
    content = b"".join(map(LineFormat("event").encode, written))
    end = data.draw(st.integers(0, len(content)))
    with tempfile.TemporaryDirectory() as base:
        left_by_a_dead_process(Path(base), content[:end])
        with opened(Path(base)) as journal:
            assert read_all(journal) == (written[: content[:end].count(b"\n")], 0)
            assert journal.kept == content[:end].count(b"\n")


@given(values, st.data())
@settings(max_examples=300, deadline=None)
def test_a_flipped_byte_costs_one_line(written: list[bytes], data: st.DataObject) -> None:
    content = bytearray(b"".join(map(LineFormat("event").encode, written)))
    index = data.draw(st.integers(0, len(content) - 1))
    hit = content[:index].count(b"\n")
    is_last_newline = index == len(content) - 1
    content[index] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as base:
        left_by_a_dead_process(Path(base), bytes(content))
        with opened(Path(base)) as journal:
            found, damaged = read_all(journal)
            assert found == written[:hit] + written[hit + 1 :]
            assert damaged == 0 if is_last_newline else damaged in (1, 2)
            aside = [path.read_bytes() for path in Path(base).glob("*.damaged")]
            assert len(aside) == bool(damaged)


@given(st.lists(texts | tricky, max_size=4))
def test_a_line_is_read_as_it_was_written(written: list[str]) -> None:
    lines = LineFormat("event")
    bodies = [Event.to_json(_event(text)) for text in written]
    for body in bodies:
        line = lines.encode(body)
        assert line.count(b"\n") == 1
        assert line.count(LINE_START) == 1
        assert lines.decode(line) == body
        assert [piece.text for piece in lines.pieces(line)] == [body]


def _event(text: str) -> Event:
    return Event(
        phoneNumber="1", messageText=text, intent="a", confidence=1.0, timestamp=1_698_345_600_000
    )
