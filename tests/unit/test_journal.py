"""The journal on a real file system."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from intentloop_producer.journal import Journal
from intentloop_producer.journal_folder import has_orphans
from intentloop_schemas import Event
from intentloop_schemas.lines import LineFormat

MEGABYTE = 1_000_000
LINES = LineFormat("event")
OpenJournal = Callable[..., Journal]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def open_journal(root: Path) -> Iterator[OpenJournal]:
    journals: list[Journal] = []

    def make(root: Path = root, max_bytes: int = MEGABYTE, **options: Any) -> Journal:
        journals.append(Journal(root, max_bytes, **options))
        return journals[-1]

    yield make
    for journal in journals:
        journal.close()


def event(number: int, text: str = "") -> bytes:
    return Event(
        phoneNumber="+15550100",
        messageText=f"{number} {text}",
        intent="greet",
        confidence=0.9,
        timestamp=1_698_345_600_000,
    ).to_json()


def events(*numbers: int, text: str = "") -> list[bytes]:
    return [event(number, text) for number in numbers]


def read_all(journal: Journal) -> list[bytes]:
    found: list[bytes] = []
    while not journal.is_read:
        found += [value for _, value in journal.read().events]
    return found


def files(root: Path) -> list[Path]:
    return sorted(root.glob("*/*.jsonl"))


def die(journal: Journal, elsewhere: Path) -> Path:
    """Copy what the death of a process would leave now."""
    shutil.copytree(journal.root, elsewhere, dirs_exist_ok=True)
    return elsewhere


def unsynced(_descriptor: int) -> None:
    """Leave it to the system when it writes."""


# Files


def test_everything_it_makes_is_private(open_journal: OpenJournal, root: Path) -> None:
    before = os.umask(0)
    try:
        open_journal().append(events(1))
    finally:
        os.umask(before)
    modes = {path: path.stat().st_mode & 0o777 for path in [root, *root.rglob("*")]}
    assert len(modes) == 4
    assert all(mode == (0o700 if path.is_dir() else 0o600) for path, mode in modes.items())


def test_a_person_can_read_the_lines(open_journal: OpenJournal, root: Path) -> None:
    open_journal().append(events(1, 2))
    [path] = files(root)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [list(line) for line in lines] == [["crc", "event"]] * 2
    assert [line["event"]["messageText"] for line in lines] == ["1 ", "2 "]


def test_one_sync_brings_a_group_to_the_disk(open_journal: OpenJournal, root: Path) -> None:
    synced: list[str] = []

    def sync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    journal = open_journal(sync=sync)
    journal.append(events(1))
    [path] = files(root)
    assert synced == [root.name, path.parent.name, path.name]
    journal.append(events(*range(2, 100)))
    assert synced[3:] == [path.name]


def test_what_is_settled_leaves_no_text_behind(open_journal: OpenJournal, root: Path) -> None:
    journal = open_journal()
    segment, _ = journal.append(events(1, 2))
    journal.hand_out(segment)
    journal.settle(segment)
    assert files(root)[0].stat().st_size
    journal.settle(segment)
    assert [path.stat().st_size for path in files(root)] == [0]
    assert journal.close() == 0
    assert list(root.iterdir()) == []


def test_segments_go_one_by_one_when_their_events_are_settled(
    open_journal: OpenJournal, root: Path
) -> None:
    journal = open_journal(sync=unsynced)
    for number in range(300):
        journal.append([event(number, "x" * 2_000)])
    before = files(root)
    assert len(before) > 4

    first = journal.read().segment
    while first.unsettled > 1:
        journal.settle(first)
    assert files(root) == before
    journal.settle(first)
    assert files(root) == before[1:]


def test_events_come_in_the_order_of_their_segments(open_journal: OpenJournal) -> None:
    journal = open_journal(sync=unsynced)
    written = [event(number, "x" * 2_000) for number in range(300)]
    for value in written:
        journal.append([value])
    assert read_all(journal) == written


# Bounds


def test_a_full_journal_takes_what_fits_and_more_when_there_is_room_again(
    open_journal: OpenJournal, root: Path
) -> None:
    journal = open_journal(sync=unsynced)
    taken = 0
    while (count := journal.append(events(*range(100), text="x" * 1_000))[1]) == 100:
        taken += count
    taken += count
    assert journal.append(events(1))[1] in (0, 1)
    assert journal.append(events(1, text="x" * 2_000))[1] == 0
    on_disk = sum(path.stat().st_size for path in files(root))
    assert MEGABYTE * 0.99 < on_disk <= MEGABYTE

    reading = journal.read()
    for _ in reading.events:
        journal.settle(reading.segment)
    assert journal.append(events(*range(50)))[1] == 50


# Trouble


def test_after_a_failed_sync_nothing_of_the_group_counts(
    open_journal: OpenJournal, root: Path, tmp_path: Path
) -> None:
    failing: list[OSError] = []

    def sync(_descriptor: int) -> None:
        if failing:
            raise failing[0]

    journal = open_journal(sync=sync)
    journal.append(events(1))
    failing.append(OSError(5, "Input/output error"))
    with pytest.raises(OSError, match="Input/output"):
        journal.append(events(2))
    failing.clear()
    journal.append(events(3))
    assert len(files(root)) == 2
    assert read_all(journal) == events(1, 3)
    again = open_journal(die(journal, tmp_path / "copy"))
    again.adopt()
    assert read_all(again) == events(1, 3)


DISK_FULL = """
import resource, sys
from pathlib import Path
from intentloop_producer.journal import Journal
sys.path.insert(0, sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, resource.RLIM_INFINITY))
journal = Journal(Path(sys.argv[1]), 1_000_000)
line = lambda n: b'{"phoneNumber":"1","messageText":"%d","intent":"a","confidence":1,' \\
    b'"timestamp":1698345600000}' % n
journal.append([line(1), line(2)])
try:
    journal.append([line(n) for n in range(3, 100)])
except OSError as error:
    print(error.strerror)
journal.append([line(100)])
journal.close()
"""


def test_a_full_disk_leaves_whole_lines_only(open_journal: OpenJournal, root: Path) -> None:
    command = [sys.executable, "-c", DISK_FULL, str(root), "."]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "File too large\n"
    journal = open_journal()
    journal.adopt()
    found: list[str] = []
    while not journal.is_read:
        reading = journal.read()
        assert not reading.damaged
        found += [read.message_text for read, _ in reading.events]
    assert found == ["1", "2", "100"]


def test_a_removed_file_is_noticed_and_a_removed_folder_made_again(
    open_journal: OpenJournal, root: Path
) -> None:
    journal = open_journal()
    journal.append(events(1))
    shutil.rmtree(root)
    with pytest.raises(FileNotFoundError, match="was removed"):
        journal.append(events(2))
    assert journal.append(events(3))[1] == 1
    reading = journal.read()
    assert (reading.events, reading.missing) == ([], 1)
    assert read_all(journal) == events(3)


def test_a_folder_that_cannot_be_made_says_which(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        Journal(tmp_path / "file" / "journal", MEGABYTE).append(events(1))


def test_damaged_lines_are_set_aside_and_hide_nothing(
    open_journal: OpenJournal, root: Path
) -> None:
    dead = root / "1-dead"
    dead.mkdir(parents=True)
    lines = [LINES.encode(value) for value in events(1, 2, 3, 4)]
    lines[1] = lines[1].replace(b"2 ", b"7 ")
    lines[2] = LINES.encode(b'{"no":"event"}')
    (dead / "lock").touch()
    (dead / "7-1-dead.jsonl").write_bytes(b"".join(lines) + b'{"crc":"')

    journal = open_journal()
    assert journal.adopt() == 1
    reading = journal.read()
    assert [value for _, value in reading.events] == events(1, 4)
    assert (len(reading.damaged), reading.missing) == (2, 0)
    aside = root / "7-1-dead.damaged"
    assert aside.read_bytes() == lines[1] + lines[2]
    assert aside.stat().st_mode & 0o777 == 0o600


# Processes


def test_what_a_living_process_holds_is_left_alone(open_journal: OpenJournal, root: Path) -> None:
    living, other = open_journal(), open_journal()
    living.append(events(1))
    assert not has_orphans(root)
    assert other.adopt() == 0
    assert len(list(root.iterdir())) == 1


def test_the_journals_of_dead_processes_are_taken_over_oldest_first(
    open_journal: OpenJournal, root: Path, tmp_path: Path
) -> None:
    first, second = open_journal(tmp_path / "a"), open_journal(tmp_path / "b")
    second.append(events(1))
    first.append(events(2))
    for journal in (first, second):
        die(journal, root)
    assert has_orphans(root)

    journal = open_journal()
    assert journal.adopt() == 2
    assert not has_orphans(root)
    journal.append(events(3))
    assert read_all(journal) == events(1, 2, 3)
    assert len(list(root.iterdir())) == 1

    # Whoever takes over and dies as well hands on both.
    again = open_journal(die(journal, tmp_path / "c"))
    again.adopt()
    assert read_all(again) == events(1, 2, 3)


def test_a_clock_that_was_set_back_changes_no_order(
    open_journal: OpenJournal, root: Path, tmp_path: Path
) -> None:
    dead = root / "1-dead"
    dead.mkdir(parents=True)
    (dead / "lock").touch()
    (dead / f"{2**62}-1-dead.jsonl").write_bytes(LINES.encode(event(1)))
    journal = open_journal()
    journal.adopt()
    journal.append(events(2))
    again = open_journal(die(journal, tmp_path / "copy"))
    again.adopt()
    assert read_all(again) == events(1, 2)


def test_only_what_fits_is_taken_over_and_the_rest_later(
    open_journal: OpenJournal, root: Path, tmp_path: Path
) -> None:
    for number in range(3):
        dead = open_journal(tmp_path / str(number), sync=unsynced)
        dead.append(events(*range(100), text="x" * 4_000))
        die(dead, root)
    journal = open_journal()
    assert journal.adopt() == 2
    assert journal.size <= MEGABYTE
    assert has_orphans(root)
    while not journal.is_read:
        reading = journal.read()
        for _ in reading.events:
            journal.settle(reading.segment)
    assert journal.adopt() == 1
    assert not has_orphans(root)


def test_one_that_is_larger_than_the_bound_is_taken_alone(
    open_journal: OpenJournal, root: Path, tmp_path: Path
) -> None:
    dead = open_journal(tmp_path / "dead", max_bytes=10 * MEGABYTE, sync=unsynced)
    dead.append(events(*range(500), text="x" * 4_000))
    die(dead, root)
    journal = open_journal()
    assert journal.adopt() == 1
    assert journal.append(events(1))[1] == 0
    assert len(read_all(journal)) == 500


def test_empty_folders_of_dead_processes_are_removed(root: Path, open_journal: OpenJournal) -> None:
    dead = root / "1-dead"
    dead.mkdir(parents=True)
    (dead / "lock").touch()
    (dead / "1-1-dead.jsonl").touch()
    (root / "a file").touch()
    assert not has_orphans(root)
    assert open_journal().adopt() == 0
    assert not dead.exists()


FORK = """
import os, sys
from pathlib import Path
from intentloop_producer.journal import Journal
journal = Journal(Path(sys.argv[1]), 1_000_000)
journal.append([b'{"phoneNumber":"1","messageText":"a","intent":"a","confidence":1,'
    b'"timestamp":1698345600000}'])
if os.fork():
    os._exit(0)
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_child_does_not_hold_its_dead_parent_s_folder(root: Path) -> None:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", FORK, str(root)]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == "ready\n"
        assert parent.wait(10) == 0
        assert has_orphans(root)
        parent.communicate()
