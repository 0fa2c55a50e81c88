"""The local servers end with the process that started them, however that ends; data are kept."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from intentloop_devstack import local_kafka, local_postgres
from support.local_servers import ENVIRON, ask, open_roads

PARENT = """
import os, signal, sys, time
from pathlib import Path
from intentloop_devstack import local_kafka, local_postgres

# Whatever runs in the background of a shell inherits that this signal is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

def linger():
    # In steps: a signal that comes just before a single long wait would not end it.
    while True:
        time.sleep(0.1)

folder, jars, kafka_road = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
with (
    local_kafka(folder, environ=os.environ, prefer=kafka_road, jars=jars) as kafka,
    local_postgres(folder, environ=os.environ, prefer="wheel") as postgres,
):
    child = os.fork() if sys.argv[4:] == ["fork"] else os.getpid()
    if not child:
        linger()
    print(child, kafka.pid, postgres.pid, postgres.url, postgres.data, flush=True)
    linger()
"""

PATHS = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


class Parent:
    """A process that has started a Kafka and a Postgres."""

    def __init__(self, *arguments: str | Path, **options: Any) -> None:
        python = options.pop("python", sys.executable)
        self.process = subprocess.Popen(
            [python, "-c", PARENT, *map(str, arguments)],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **{"env": ENVIRON, **options},
        )
        line = self.process.stdout.readline().split()
        assert line, f"the child ended with {self.process.wait()}"
        self.forked, self.kafka_pid, self.postgres_pid = (int(pid) for pid in line[:3])
        self.url, self.data = line[3], Path(line[4])
        self.servers = [
            process
            for pid in (self.kafka_pid, self.postgres_pid)
            for process in [
                psutil.Process(pid).parent(),
                psutil.Process(pid),
                *psutil.Process(pid).children(recursive=True),
            ]
        ]

    def end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.process.wait(30)

    def leaves_nothing(self) -> bool:
        return not any(process.is_running() for process in self.servers)

    def tidy(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.forked, signal.SIGKILL)
        self.process.stdout.close()
        shutil.rmtree(self.data.parent, ignore_errors=True)


StartParent = Callable[..., Parent]


@pytest.fixture
def parent() -> Iterator[StartParent]:
    parents: list[Parent] = []

    def start(*arguments: str | Path, **options: Any) -> Parent:
        parents.append(Parent(*arguments, **options))
        return parents[-1]

    yield start
    for started in parents:
        started.tidy()


def test_kill_of_the_parent_ends_its_servers_and_the_next_start_has_their_data(
    parent: StartParent, tmp_path: Path, kafka_jars: Path, eventually: Any
) -> None:
    open_roads(kafka="java", postgres="wheel")
    killed = parent(tmp_path, kafka_jars, "java")
    ask(killed.url, "CREATE TABLE kept AS SELECT 7 AS answer")
    killed.end(signal.SIGKILL)
    # At once: the servers are still ending, and the folder is not given up for another.
    with local_postgres(tmp_path, environ=ENVIRON, prefer="wheel") as server:
        assert server.data == killed.data
        assert ask(server.url, "SELECT answer FROM kept") == [(7,)]
    eventually(killed.leaves_nothing, timeout=10, message="the servers outlive their parent")
    with local_kafka(tmp_path, environ=ENVIRON, prefer="java", jars=kafka_jars) as kafka:
        assert kafka.log.parent == tmp_path / "kafka"


def test_neither_a_forked_child_nor_a_pause_keeps_the_servers_of_a_killed_parent(
    parent: StartParent, tmp_path: Path, kafka_jars: Path, eventually: Any
) -> None:
    open_roads(postgres="wheel")
    killed = parent(tmp_path, kafka_jars, "mock", "fork")
    # A paused server would not hear the signal to stop.
    os.kill(killed.postgres_pid, signal.SIGSTOP)
    killed.end(signal.SIGKILL)
    # The child holds the parent's end of the guards' pipes open.
    assert psutil.pid_exists(killed.forked)
    eventually(killed.leaves_nothing, message="the servers outlive their parent")


def test_interrupt_of_the_parent_ends_its_servers_in_order(
    parent: StartParent, tmp_path: Path, kafka_jars: Path, eventually: Any
) -> None:
    open_roads(postgres="wheel")
    interrupted = parent(tmp_path, kafka_jars, "mock", "fork")
    interrupted.end(signal.SIGINT)
    assert interrupted.leaves_nothing()
    assert "database system is shut down" in (tmp_path / "postgres" / "server.log").read_text()


def python_for_everybody() -> str | None:
    """A Python like ours that other users may run; ours may lie in a closed home, as may we."""
    name = "python{}.{}".format(*sys.version_info)
    found = [sys.executable, *(shutil.which(name, path=p) or "" for p in ("/usr/bin", os.defpath))]
    for candidate in filter(None, found):
        with suppress(PermissionError, subprocess.CalledProcessError):
            command = [candidate, "-c", "import intentloop_devstack"]
            subprocess.run(command, env=PATHS, user="nobody", cwd="/", check=True)
            return candidate
    return None


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs all the other tests as such")
def test_ordinary_user_can_start_both(
    parent: StartParent,
    kafka_jars: Path,
    eventually: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    open_roads(postgres="wheel")
    python = python_for_everybody()
    if python is None:
        pytest.skip("user nobody can run no Python of this version, or may not read this checkout")
    # pytest's own temporary folders are closed to others.
    folder = Path(subprocess.check_output(["mktemp", "-d"], user="nobody", text=True).strip())
    try:
        started = parent(
            folder,
            kafka_jars,
            "mock",
            python=python,
            user="nobody",
            cwd="/",
            env={**ENVIRON, **PATHS},
        )
        assert ask(started.url, "SELECT 1") == [(1,)]
        assert psutil.Process(started.postgres_pid).username() == "nobody"
        started.end(signal.SIGKILL)
        eventually(started.leaves_nothing, message="the servers outlive their parent")
    finally:
        shutil.rmtree(folder)
