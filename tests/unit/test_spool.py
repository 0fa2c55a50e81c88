"""The spool on a real file system: what was appended comes back until it is done."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from intentloop_schemas import DeadLetter, DeadLetterReason
from intentloop_sink.spool import Run, Spool, SpoolError, SpoolHeldError, SpoolSettings
from support.batches import NOON, PARTITION, LogRecord, batch, entry, partition, tens, traffic
from support.spools import OpenSpool, plain, read, segments


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


def test_an_unusable_folder_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpoolError, match="FALLBACK_DIR"):
        Spool(tmp_path / "file", "w")


@pytest.mark.parametrize("writer", ["", ".", "..", "a/b", ".hidden", "nul\0"])
def test_a_name_must_be_a_folders(tmp_path: Path, writer: str) -> None:
    with pytest.raises(ValueError, match="INTENTLOOP_INSTANCE_ID"):
        Spool(tmp_path, writer)


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
