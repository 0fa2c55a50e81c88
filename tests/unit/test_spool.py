"""The spool on a real file system: what was appended is there, whatever happens in between."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from intentloop_schemas import Batch, DeadLetter, DeadLetterReason, Entry
from intentloop_sink.spool import (
    Run,
    Spool,
    SpoolError,
    SpoolFullError,
    SpoolHeldError,
    SpoolSettings,
)
from intentloop_sink.spool.format import LINES
from support.batches import NOON, PARTITION, LogRecord, batch, entry, partition, tens, traffic

OpenSpool = Callable[..., Spool]


@pytest.fixture
def open_spool(tmp_path: Path) -> Iterator[OpenSpool]:
    spools: list[Spool] = []

    def make(writer: str = "w", **options: Any) -> Spool:
        spools.append(Spool(tmp_path, writer, **options))
        return spools[-1]

    yield make
    for spool in spools:
        spool.close()


def plain(batches: Any) -> list[Any]:
    """Return batches as comparable values, whatever class their records have."""
    return [
        (
            b.partition,
            (b.first_position, b.next_position, b.highest_timestamp, b.opened_at),
            (b.closed_by, b.rejected, b.batches),
            [
                (derived(e), e.record.offset, e.record.timestamp, e.record.key, e.record.value)
                for e in b.entries
            ],
        )
        for b in batches
    ]


def derived(each: Entry) -> tuple[Any, ...]:
    return each.event, each.event_id, each.example_id, each.reasons, each.late


def read(spool: Spool) -> list[Batch]:
    return [spooled.batch for spooled in spool.read()]


def segments(spool: Spool) -> list[Path]:
    return sorted(spool.folder.glob("*.jsonl"))


def crash(spool: Spool, elsewhere: Path) -> Path:
    """Copy what a crash would leave on disk now; return the folder that holds the writer's."""
    shutil.copytree(spool.folder, elsewhere / spool.folder.name)
    return elsewhere


def unsynced(_descriptor: int) -> None:
    """Leave it to the system when it writes: in a loop over every byte a sync takes too long."""


def test_what_was_appended_comes_back_in_order(open_spool: OpenSpool) -> None:
    spool = open_spool()
    batches = tens(traffic(range(100)))
    spool.append(batches[:3])
    spool.append(batches[3:])
    assert plain(read(spool)) == plain(batches)
    assert plain(read(spool)) == plain(batches)


def test_it_survives_reopening(open_spool: OpenSpool) -> None:
    batches = tens(traffic(range(100)))
    with open_spool() as spool:
        for each in batches:
            spool.append([each])
        pending = spool.pending
    again = open_spool()
    assert plain(read(again)) == plain(batches)
    assert again.pending == pending
    assert again.damage.lines == again.damage.torn_bytes == 0


def test_the_folder_is_complete_on_disk_before_append_returns(tmp_path: Path) -> None:
    synced: list[str] = []

    def sync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    with Spool(tmp_path / "a" / "b", "w", sync=sync) as spool:
        # Each folder is synced after the one below it was made.
        assert synced == [tmp_path.name, "a", "b"]
        spool.append([batch([entry(0)])])
        assert synced[3:] == ["00000001.jsonl", "w"]
        spool.append([batch([entry(1)])])
        assert synced[5:] == ["00000001.jsonl"]


def test_failpoints_surround_the_sync(open_spool: OpenSpool) -> None:
    steps: list[str] = []
    spool = open_spool(sync=lambda _: steps.append("sync"), failpoint=steps.append)
    spool.append([batch([entry(0)])])
    steps.clear()
    spool.append([batch([entry(1)])])
    assert steps == ["spool.before_fsync", "sync", "spool.after_fsync"]


def test_what_is_done_is_forgotten_and_its_segment_removed(open_spool: OpenSpool) -> None:
    spool = open_spool()
    spool.append([batch([entry(0)]), batch([entry(0)], partition=partition(1))])
    first, other = spool.read()
    spool.done([first])
    assert list(spool.pending) == [partition(1)]
    assert plain(read(spool)) == plain([other.batch])
    assert len(segments(spool)) == 1
    spool.done([other])
    assert spool.is_empty
    assert spool.size == 0
    assert segments(spool) == []


def test_doing_a_batch_twice_forgets_no_other(open_spool: OpenSpool) -> None:
    spool = open_spool()
    spool.append([batch([entry(0)]), batch([entry(1)])])
    first, second = spool.read()
    spool.done([first, first])
    spool.done([first])
    assert plain(read(spool)) == plain([second.batch])


def test_appending_goes_on_while_old_segments_are_read(open_spool: OpenSpool) -> None:
    spool = open_spool()
    spool.append([batch([entry(0)])])
    reading = spool.read()
    first = next(reading)
    spool.append([batch([entry(1)])])
    assert list(reading) == []
    spool.done([first])
    assert [b.first_position for b in read(spool)] == [1]


def test_segments_are_closed_at_their_size(open_spool: OpenSpool) -> None:
    spool = open_spool(segment_bytes=2_000)
    batches = [batch([entry(i)]) for i in range(40)]
    for each in batches:
        spool.append([each])
    assert len(segments(spool)) > 5
    assert plain(read(spool)) == plain(batches)


def test_what_is_held_back_is_left_out(open_spool: OpenSpool) -> None:
    spool = open_spool()
    batches = [batch([entry(i)], partition=partition(i % 2)) for i in range(6)]
    spool.append(batches)
    assert plain(s.batch for s in spool.read({partition(1): 0})) == plain(batches[::2])
    assert plain(s.batch for s in spool.read({partition(1): 2, partition(0): 0})) == plain(
        batches[1:2]
    )
    assert list(spool.read({partition(0): 0, partition(1): 1})) == []
    assert len(read(spool)) == 6


def test_pending_tells_where_each_partition_ends(open_spool: OpenSpool) -> None:
    spool = open_spool()
    assert spool.pending == {}
    spool.append([batch([entry(5), entry(6)], highest_timestamp=NOON + 9)])
    spool.append([batch([entry(7)], highest_timestamp=NOON + 99)])
    spool.append([batch([entry(0)], partition=partition(1))])
    extent = spool.pending[PARTITION]
    assert (extent.first_position, extent.next_position) == (5, 8)
    assert extent.highest_timestamp == NOON + 99
    assert (extent.lines, extent.events) == (2, 3)
    assert spool.events == 4
    assert spool.pending.keys() == {PARTITION, partition(1)}


def test_pending_shows_what_is_missing_in_between(open_spool: OpenSpool) -> None:
    spool = open_spool()
    for offset in (0, 1, 7, 8):
        spool.append([batch([entry(offset)])])
    spool.append([batch([entry(1), entry(2)], highest_timestamp=NOON + 50)])
    extent = spool.pending[PARTITION]
    assert extent.runs == [Run(0, 3, NOON + 50), Run(7, 9, NOON + 8)]
    assert extent.run_from(1) == extent.run_from(3) == extent.runs[0]
    assert extent.run_from(5) is None
    assert extent.run_from(7) == extent.runs[1]


def test_two_spools_cannot_share_a_folder(open_spool: OpenSpool, tmp_path: Path) -> None:
    open_spool()
    with pytest.raises(SpoolHeldError, match="another live process"):
        Spool(tmp_path, "w")
    open_spool("other")


def test_two_processes_cannot_share_a_folder(open_spool: OpenSpool, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from intentloop_sink.spool import Spool;"
        "spool = Spool(Path(sys.argv[1]), 'w'); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(SpoolHeldError):
            open_spool()
        other.kill()
        other.wait(10)
    open_spool()


def test_an_empty_folder_goes_with_its_writer(open_spool: OpenSpool, tmp_path: Path) -> None:
    with open_spool() as spool:
        spool.append([batch([entry(0)])])
    assert (tmp_path / "w").exists()
    with open_spool() as spool:
        spool.done(spool.read())
    assert not (tmp_path / "w").exists()


def test_a_full_spool_takes_nothing(open_spool: OpenSpool) -> None:
    spool = open_spool(max_bytes=5_000)
    taken = [batch([entry(offset)]) for offset in range(5)]
    spool.append(taken)
    with pytest.raises(SpoolFullError, match="INTENTLOOP_FALLBACK_MAX_MB"):
        spool.append([batch([entry(offset)]) for offset in range(5, 20)])
    assert 0 < spool.size <= 5_000
    assert plain(read(spool)) == plain(taken)
    spool.done(spool.read())
    spool.append([batch([entry(99)])])


class Disk:
    """A disk whose sync fails from a given call on."""

    def __init__(self, error: int) -> None:
        self.error = error
        self.is_well = True

    def sync(self, descriptor: int) -> None:
        if not self.is_well:
            raise OSError(self.error, os.strerror(self.error))
        os.fsync(descriptor)


@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.ENOSPC, SpoolFullError), (errno.EDQUOT, SpoolFullError), (errno.EIO, SpoolError)],
)
@pytest.mark.parametrize("before", [0, 2])
def test_a_failed_append_leaves_no_trace(
    open_spool: OpenSpool, number: int, expected: type[Exception], before: int
) -> None:
    disk = Disk(number)
    spool = open_spool(sync=disk.sync)
    kept = [batch([entry(i)]) for i in range(before)]
    spool.append(kept)
    disk.is_well = False
    with pytest.raises(expected) as raised:
        spool.append([batch([entry(8)]), batch([entry(9)])])
    assert type(raised.value) is expected
    assert plain(read(spool)) == plain(kept)
    disk.is_well = True
    after = batch([entry(9)])
    spool.append([after])
    assert plain(read(spool)) == plain([*kept, after])


LIMITED = """
import resource, sys
from pathlib import Path
from intentloop_sink.spool import Spool, SpoolFullError
from support.batches import batch, entry
spool = Spool(Path(sys.argv[1]), "w")
spool.append([batch([entry(0)])])
resource.setrlimit(resource.RLIMIT_FSIZE, (spool.size + 700, resource.RLIM_INFINITY))
try:
    spool.append([batch([entry(i)]) for i in range(1, 10)])
except SpoolFullError as error:
    print("full", spool.size, sum(p.stat().st_size for p in spool.folder.glob("*.jsonl")))
"""


def test_a_full_disk_leaves_whole_lines_only(open_spool: OpenSpool, tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    tests = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(tests)},
        capture_output=True,
        text=True,
        check=True,
    )
    word, counted, on_disk = done.stdout.split()
    assert word == "full"
    assert counted == on_disk
    spool = open_spool()
    assert [b.first_position for b in read(spool)] == [0]
    assert spool.damage.torn_bytes == spool.damage.lines == 0


def test_a_removed_segment_takes_nothing(open_spool: OpenSpool) -> None:
    spool = open_spool()
    spool.append([batch([entry(0)])])
    segments(spool)[0].unlink()
    with pytest.raises(SpoolError, match="removed"):
        spool.append([batch([entry(1)])])
    spool.append([batch([entry(1)])])


def test_an_unusable_folder_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpoolError, match="FALLBACK_DIR"):
        Spool(tmp_path / "file", "w")


@pytest.mark.parametrize("writer", ["", ".", "..", "a/b", ".hidden", "nul\0"])
def test_a_name_must_be_a_folders(tmp_path: Path, writer: str) -> None:
    with pytest.raises(ValueError, match="INTENTLOOP_INSTANCE_ID"):
        Spool(tmp_path, writer)


def test_a_tail_cut_anywhere_costs_only_itself(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool()
    batches = [batch([entry(i)]) for i in range(3)]
    spool.append(batches[:2])
    whole = spool.size
    spool.append(batches[2:])
    (path,) = segments(spool)
    data = path.read_bytes()
    for size in range(whole, len(data)):
        folder = crash(spool, tmp_path / str(size))
        (folder / "w" / path.name).write_bytes(data[:size])
        with Spool(folder, "w", sync=unsynced) as again:
            assert plain(read(again)) == plain(batches[:2])
            assert again.damage.torn_bytes == size - whole
            assert again.damage.lines == 0
            assert segments(again)[0].stat().st_size == whole


def test_a_torn_only_line_leaves_nothing(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool()
    spool.append([batch([entry(0)])])
    folder = crash(spool, tmp_path / "crash")
    os.truncate(folder / "w" / "00000001.jsonl", 50)
    with Spool(folder, "w") as again:
        assert again.is_empty
        assert segments(again) == []


def test_a_flipped_byte_costs_at_most_its_own_line(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool()
    batches = [batch([entry(i)]) for i in range(2)]
    spool.append(batches)
    (path,) = segments(spool)
    data = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    folder = crash(spool, tmp_path / "crash")
    for index in range(len(data)):
        flipped = bytearray(data)
        flipped[index] ^= 1 << (index % 7) if index not in (e - 1 for e in ends) else 0x20
        (folder / "w").mkdir(exist_ok=True)
        (folder / "w" / path.name).write_bytes(flipped)
        with Spool(folder, "w", sync=unsynced) as again:
            hit = sum(end <= index for end in ends)
            assert plain(read(again)) == plain(batches[:hit] + batches[hit + 1 :]), index
            assert again.damage.lines or again.damage.torn_bytes
            again.done(again.read())
            assert again.is_empty
        shutil.rmtree(folder / "w", ignore_errors=True)


def test_a_byte_that_becomes_a_newline_costs_one_line(
    open_spool: OpenSpool, tmp_path: Path
) -> None:
    spool = open_spool()
    batches = [batch([entry(i)]) for i in range(3)]
    spool.append(batches)
    folder = crash(spool, tmp_path / "crash")
    path = folder / "w" / "00000001.jsonl"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] = ord("\n")
    path.write_bytes(data)
    with Spool(folder, "w") as again:
        assert plain(read(again)) == plain([batches[0], batches[2]])
        assert again.damage.lines == 2


def test_corrupt_lines_are_set_aside(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool()
    spool.append([batch([entry(i)]) for i in range(3)])
    folder = crash(spool, tmp_path / "crash")
    path = folder / "w" / "00000001.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"order", b"odour")
    path.write_bytes(b"".join(lines))
    corrupt = folder / "w" / "corrupt" / path.name
    for _ in range(2):
        with Spool(folder, "w") as again:
            assert again.damage.lines == 1
            assert [b.first_position for b in read(again)] == [0, 2]
            assert corrupt.read_bytes() == lines[1]
    with Spool(folder, "w") as again:
        again.done(again.read())
    assert not path.exists()
    assert corrupt.read_bytes() == lines[1]
    with Spool(folder, "w") as again:
        again.append([batch([entry(9)])])
        assert segments(again)[0].name == "00000002.jsonl"


def test_damage_that_comes_later_is_set_aside_too(open_spool: OpenSpool) -> None:
    spool = open_spool()
    spool.append([batch([entry(i)]) for i in range(3)])
    (path,) = segments(spool)
    path.write_bytes(path.read_bytes().replace(b"event-1", b"event-I"))
    good = list(spool.read())
    assert [s.batch.first_position for s in good] == [0, 2]
    assert spool.damage.lines == 1
    spool.done(good)
    assert list(spool.read()) == []
    assert spool.is_empty
    assert segments(spool) == []
    assert b"event-I" in (spool.folder / "corrupt" / path.name).read_bytes()


def test_a_line_that_a_later_release_wrote_is_set_aside(open_spool: OpenSpool) -> None:
    with open_spool() as spool:
        spool.append([batch([entry(0)])])
        (path,) = segments(spool)
    text = LINES.decode(path.read_bytes())
    assert text is not None
    changed = text.replace(b'"closedBy":"size"', b'"closedBy":"moon phase"')
    path.write_bytes(LINES.encode(changed) + path.read_bytes())
    again = open_spool()
    assert len(read(again)) == 1
    assert again.damage.lines == 1


def test_a_line_can_be_read_by_jq(open_spool: OpenSpool) -> None:
    hostile = ["\n\r\t", '"\\', "मेरा", "👍🏽", "\u2028", "\x01\x7f", "}{", '{"crc":"']
    entries = [entry(i, message_text=text, phone_number=text) for i, text in enumerate(hostile)]
    spool = open_spool()
    spool.append([batch(entries)])
    (path,) = segments(spool)
    jq = shutil.which("jq")
    if jq is None:
        lines = [json.loads(line) for line in path.read_text().split("\n")[:-1]]
        found = [e["event"]["messageText"] for line in lines for e in line["batch"]["entries"]]
    else:
        query = "[.batch.entries[].event.messageText]"
        done = subprocess.run([jq, "-c", query, str(path)], capture_output=True, check=True)
        found = json.loads(done.stdout)
    assert found == hostile
    assert plain(read(spool)) == plain([batch(entries)])


def test_original_bytes_come_back(open_spool: OpenSpool) -> None:
    usual = entry(0)
    as_json = usual.event.to_json()
    records = [
        LogRecord(0, key=b"+919876543210", value=as_json),
        LogRecord(0, key=b"", value=b""),
        LogRecord(0, key=b"\xff\x00", value=as_json + b" \n"),
        LogRecord(0, key=None, value=b'{"a":"\xed\xa0\x80"}'),
    ]
    each = batch([replace(usual, record=record) for record in records])
    spool = open_spool()
    spool.append([each])
    assert plain(read(spool)) == plain([each])
    first, *_ = json.loads(segments(spool)[0].read_bytes())["batch"]["entries"]
    assert first.keys() == {"offset", "timestamp", "eventId", "late", "reasons", "event"}


def test_refused_records_keep_their_bytes(open_spool: OpenSpool) -> None:
    spool = open_spool()
    letter = DeadLetter(
        reason=DeadLetterReason.CONFLICTING_DUPLICATE,
        error="another text",
        topic="conversations",
        partition=3,
        offset=7,
        timestamp=NOON,
        key=b"\xff",
        value=b'{"a":1}',
    )
    spool.quarantine([letter])
    path = spool.folder / "refused" / "refused.jsonl"
    with path.open("ab") as file:
        file.write(b'{"reason":"conf')
    spool.quarantine([letter])
    lines = path.read_text().splitlines()
    assert len(lines) == 3
    first, last = json.loads(lines[0]), json.loads(lines[2])
    assert first == last
    assert first["value"] == '{"a":1}'
    assert first["keyBase64"] == "/w=="
    assert (first["topic"], first["partition"], first["offset"]) == ("conversations", 3, 7)


def test_settings() -> None:
    assert SpoolSettings().max_bytes == 1 << 30
    assert SpoolSettings(FALLBACK_DIR="/tmp/x").folder == Path("/tmp/x")
