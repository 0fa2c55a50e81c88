"""The store of those without a database: files, shared with whoever else writes beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from intentloop_schemas import DeadLetterReason
from intentloop_sink import OffsetLine, Outcome, OutOfTurn, Refused, Stored
from intentloop_sink.catalogue import FileCatalogue, FileFollower, FileReader
from intentloop_sink.catalogue.erasures import RememberErased
from intentloop_sink.file_sink import FileSink
from intentloop_sink.spool import Spool
from intentloop_sink.suppression import sender_hash
from support.batches import PARTITION, batch, entry

OpenSink = Callable[..., FileSink]
TIME = entry(0).event.timestamp


@pytest.fixture
def open_sink(tmp_path: Path) -> Iterator[OpenSink]:
    """A function that opens the store as a worker of some name does."""
    with ExitStack() as stack:

        def make(writer: str = "w") -> FileSink:
            spool = stack.enter_context(Spool(tmp_path, writer))
            files = FileFollower(tmp_path, window_seconds=30)
            stack.callback(files.close)
            return FileSink(spool, files, window_seconds=30)

        yield make


def store(sink: FileSink, first: int, end: int, **fields: Any) -> Outcome:
    entries = [entry(offset) for offset in range(first, end)]
    return sink.store(sink.prepare([batch(entries, **fields)]))


def position(sink: FileSink, earliest: int = 0) -> int:
    lines = sink.lines_from({PARTITION: earliest})
    assert isinstance(lines, dict)
    return lines[PARTITION].next_position


def test_a_partition_goes_on_where_the_files_end_whoever_wrote_them(open_sink: OpenSink) -> None:
    first, second = open_sink("first"), open_sink("second")
    assert position(first) == 0

    store(first, 0, 10)
    assert position(second) == 10
    store(second, 10, 15)

    assert position(first) == 15
    lines = first.lines_from({PARTITION: 0})
    assert lines == {PARTITION: OffsetLine(15, entry(14).event.timestamp)}


def test_what_a_stale_worker_still_writes_is_left_out(open_sink: OpenSink) -> None:
    stale, other = open_sink("stale"), open_sink("other")
    store(other, 0, 10)

    outcome = store(stale, 5, 12)

    assert isinstance(outcome, Stored)
    assert (outcome.stored, outcome.fenced) == (2, 5)
    assert outcome.next_positions == {PARTITION: 12}
    assert isinstance(store(stale, 10, 12), Stored)
    assert position(other) == 12


def test_an_overlap_that_nobody_can_cut_is_read_again(open_sink: OpenSink) -> None:
    sink = open_sink()
    store(sink, 0, 10)

    outcome = store(sink, 5, 12, next_position=13, rejected=1)

    assert outcome == OutOfTurn(PARTITION, 10)


def test_what_two_workers_stored_at_once_counts_once(open_sink: OpenSink, tmp_path: Path) -> None:
    log = [entry(offset) for offset in range(10)]
    for writer, batches in {
        "one": [batch(log)],
        "same": [batch(log)],
        "more": [batch([*log, entry(10)]), batch([entry(11)])],
        "uncut": [batch([*log[5:], *map(entry, range(10, 13))], rejected=1)],
    }.items():
        with Spool(tmp_path, writer) as spool:
            spool.append(batches)

    assert position(open_sink()) == 13
    reader = FileReader(tmp_path, window_seconds=30)
    with reader.reading() as catalogue:
        totals = catalogue.pipeline.totals()
        assert catalogue.datasets.all()[0].size == 13
    reader.close()
    assert totals.stored == 13


def test_a_gap_is_read_again_as_long_as_kafka_has_it(open_sink: OpenSink) -> None:
    sink = open_sink()
    store(sink, 0, 10)
    store(sink, 20, 30)

    assert position(sink, earliest=0) == 10
    assert position(sink, earliest=15) == 10
    assert position(sink, earliest=20) == 30


def test_the_same_event_again_is_a_duplicate_and_another_of_its_id_is_refused(
    open_sink: OpenSink,
) -> None:
    sink = open_sink()
    store(sink, 0, 1)

    again = sink.store(sink.prepare([batch([entry(1, event_id="event-0", timestamp=TIME)])]))
    assert isinstance(again, Stored)
    assert (again.stored, again.duplicates) == (0, 1)

    other = entry(2, event_id="event-0", timestamp=TIME, message_text="cancel it")
    refused = sink.store(sink.prepare([batch([other])]))
    assert isinstance(refused, Refused)
    assert [r.reason for r in refused.refusals] == [DeadLetterReason.CONFLICTING_DUPLICATE]


def test_whom_the_api_beside_it_erased_is_not_stored(open_sink: OpenSink, tmp_path: Path) -> None:
    sink = open_sink()
    store(sink, 0, 10)
    sender = entry(0).event.phone_number
    assert not sink.has_erased([sender], TIME)

    api = FileCatalogue(tmp_path, window_seconds=30)
    api.apply(RememberErased(key="key", hashes=[sender_hash("key", sender)]))
    api.close()
    outcome = store(sink, 10, 20)

    assert isinstance(outcome, Stored)
    assert (outcome.stored, outcome.suppressed) == (0, 10)
    assert sink.has_erased([sender], TIME)
    assert position(sink) == 20


def test_half_an_edit_is_read_once_it_is_whole(open_sink: OpenSink, tmp_path: Path) -> None:
    sink = open_sink()
    sender = entry(0).event.phone_number
    api = FileCatalogue(tmp_path, window_seconds=30)
    api.apply(RememberErased(key="key", hashes=[sender_hash("key", sender)]))
    api.close()
    journal = tmp_path / "edits.jsonl"
    whole = journal.read_bytes()

    journal.write_bytes(whole[:-20])
    sink.lines_from({})
    assert not sink.has_erased([sender], TIME)
    journal.write_bytes(whole)
    sink.lines_from({})
    assert sink.has_erased([sender], TIME)
