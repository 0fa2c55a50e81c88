"""What a full, failing or damaged disk costs a spool: never more than what it hit."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from intentloop_sink.spool import Spool, SpoolError, SpoolFullError
from intentloop_sink.spool.format import LINES
from support.batches import batch, entry
from support.spools import OpenSpool, plain, read, segments


def crash(spool: Spool, elsewhere: Path) -> Path:
    """Copy what a crash would leave on disk now; return the folder that holds the writer's."""
    shutil.copytree(spool.folder, elsewhere / spool.folder.name)
    return elsewhere


def unsynced(_descriptor: int) -> None:
    """Leave it to the system when it writes: in a loop over every byte a sync takes too long."""


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
