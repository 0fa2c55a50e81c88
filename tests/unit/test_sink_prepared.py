"""What is worked out about a group before the database is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from intentloop_schemas import Batch, ClosedBy, DeadLetterReason, fold_windows
from intentloop_sink.content import Content
from intentloop_sink.encoding import LineEncoder
from intentloop_sink.prepared import Prepared, prepare, settle
from support.batches import batch, entry, partition, tens, traffic


def prepared(batches: list[Batch], window_seconds: int = 30) -> Prepared:
    return prepare(batches, window_seconds, LineEncoder())


def counts(group: Prepared) -> list[tuple[int, ...]]:
    return [(r.batches, r.stored, r.duplicates, r.rejected, r.flagged) for r in group.ranges]


def ids(group: Prepared) -> list[str]:
    return [line.split("\t")[0] for line in group.payload.decode().splitlines()]


def test_rows_come_in_id_order_whatever_the_order_of_batches() -> None:
    entries = traffic(range(60))
    batches = tens(entries)
    group = prepared(batches[::-1])
    assert ids(group) == sorted(e.example_id for e in entries)
    assert group.batches == batches


def test_adjacent_batches_with_one_reason_become_one_row() -> None:
    entries = [entry(offset) for offset in range(30)]
    batches = tens(entries)
    batches[2].closed_by = ClosedBy.TIME
    batches[1].opened_at += 1
    group = prepared([*batches, batch([entry(100)], partition=partition(1))])
    assert group.ranges[0].opened_at == batches[0].opened_at
    assert [(r.first_position, r.next_position, r.batches) for r in group.ranges] == [
        (0, 20, 2),
        (20, 30, 1),
        (100, 101, 1),
    ]


def test_a_repetition_within_the_group_is_a_duplicate() -> None:
    first = entry(0, event_id="same", timestamp=1_700_000_000_000, confidence=0.1)
    again = entry(1, event_id="same", timestamp=1_700_000_000_000, confidence=0.1)
    group = prepared([batch([first, again]), batch([again], partition=partition(1))])
    assert counts(group) == [(1, 1, 1, 0, 1), (1, 0, 1, 0, 0)]
    assert sum(s.n for s in group.windows.values()) == 1
    assert group.conflicts == []


def test_other_content_with_the_same_id_is_a_conflict_and_the_first_stays() -> None:
    first = entry(0, event_id="same", timestamp=1_700_000_000_000)
    other = entry(1, event_id="same", timestamp=1_700_000_000_001, message_text="cancel it")
    group = prepared([batch([first, other])])
    assert ids(group) == [first.example_id]
    (conflict,) = group.conflicts
    assert conflict.entry is other
    assert conflict.reason is DeadLetterReason.CONFLICTING_DUPLICATE
    assert "another text, timestamp" in conflict.error
    assert counts(group) == [(1, 1, 0, 0, 0)]


def test_what_the_database_holds_decides() -> None:
    held = entry(0, event_id="same", timestamp=1_700_000_000_000)
    other = entry(1, event_id="same", timestamp=1_700_000_000_000, message_text="cancel it")
    group = prepared([batch([other, held])])
    assert [c.entry for c in group.conflicts] == [held]

    settled = settle(group, {held.example_id: Content.of(held)})
    assert [c.entry for c in settled.conflicts] == [other]
    assert counts(settled) == [(1, 0, 1, 0, 0)]
    assert settled.payload == b""


def test_review_reasons_are_no_content() -> None:
    held = entry(0, confidence=0.72)
    stricter = replace(held, reasons=("low_confidence",))
    assert Content.of(held) == Content.of(stricter)


def test_each_field_is_content() -> None:
    changes: dict[str, Any] = {
        "phone_number": "+1",
        "message_text": "hello",
        "intent": "greet",
        "confidence": 0.94,
        "timestamp": 1_700_000_000_999,
        "event_id": "other",
        "channel": "web",
        "language": "hi",
        "model_version": "v9",
        "session_id": "s",
        "message_id": "m",
        "current_step": "",
        "alternatives": [],
    }
    for field, value in changes.items():
        assert Content.of(entry(0)) != Content.of(entry(0, **{field: value})), field
    assert len(changes) == len(Content._fields)


def test_hours_are_right_when_windows_do_not_divide_them() -> None:
    entries = traffic(range(500))
    for window_seconds in (10, 30, 3600, 128, 86_400):
        group = prepared(tens(entries), window_seconds)
        assert group.hours == fold_windows(entries, 3600)
        assert group.windows == fold_windows(entries, window_seconds)


def test_an_empty_group_writes_nothing() -> None:
    group = prepared([])
    assert (group.payload, group.windows, group.hours, group.ranges) == (b"", {}, {}, [])
