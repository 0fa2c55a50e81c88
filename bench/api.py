"""Posts to the API, storage included, beside FastAPI that only validates the same bodies.

python -m bench.api
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median

import psutil
from rich.console import Console
from rich.table import Table

from bench.ground import new_database
from intentloop_devstack import local_postgres
from intentloop_devstack.claim import claim
from intentloop_devstack.process import ServerProcess

KEY = "a-key-for-the-benchmark-alone"
PATH = "/api/training/conversations/bulk"
NOON = 1_760_000_000_000
TEXTS = ("where is my order?", "cancel it please, I ordered the wrong size", "panir tikka", "ok")


@dataclass(frozen=True)
class Load:
    """So many posts of so many events, over so many connections."""

    events: int
    posts: int
    connections: int


@dataclass(frozen=True)
class Result:
    """What came of a load."""

    events_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """Processor time of the server's process, for each event."""
    peak_mb: float


LOADS = (Load(10, 6_000, 32), Load(1_000, 200, 8))


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(prog="python -m bench.api", description=__doc__)
    parser.add_argument("--pairs", type=int, default=3, help="measurements of each, alternating")
    parser.add_argument("--folder", type=Path, default=Path("var/bench"))
    options = parser.parse_args()
    out = Console(width=110)
    with local_postgres(options.folder, environ=os.environ, fresh=True) as postgres:
        out.print(f"Postgres: {postgres.description}")
        for load in LOADS:
            ours, least = [], []
            for pair in range(options.pairs):
                name = f"api_{load.events}_{pair}"
                with (
                    new_database(postgres.url, name) as url,
                    api(options.folder, url) as (port, pid),
                ):
                    ours.append(measure(load, port, pid, seed=pair))
                with minimal(options.folder) as (port, pid):
                    least.append(measure(load, port, pid, seed=pair))
            out.print(table(load, ours, least))


def table(load: Load, ours: Sequence[Result], least: Sequence[Result]) -> Table:
    """Return the medians of both, and their ratio."""
    result = Table(
        "", "events/s", "p50 ms", "p99 ms", "CPU µs/event", "peak MB",
        title=f"{load.posts:,} posts of {load.events:,}, {load.connections} connections",
    )  # fmt: skip
    for name, results in (("intentloop", ours), ("FastAPI that validates", least)):
        result.add_row(
            name,
            f"{median(r.events_per_second for r in results):,.0f}",
            f"{median(r.p50_ms for r in results):.1f}",
            f"{median(r.p99_ms for r in results):.1f}",
            f"{median(r.cpu_us for r in results):.1f}",
            f"{max(r.peak_mb for r in results):.0f}",
        )
    pairs = zip(ours, least, strict=True)
    ratio = median(a.events_per_second / b.events_per_second for a, b in pairs)
    result.add_row("ratio", f"{ratio:.2f}", "", "", "", "")
    return result


def measure(load: Load, port: int, pid: int, *, seed: int) -> Result:
    """Post everything once and return what came of it."""
    requests = list(_requests(load, port, seed))
    times: list[float] = []
    before = _cpu(pid)
    started = time.perf_counter()
    peak = asyncio.run(_post_all(requests, load.connections, port, pid, times))
    seconds = time.perf_counter() - started
    times.sort()
    return Result(
        load.events * load.posts / seconds,
        times[len(times) // 2] * 1000,
        times[len(times) * 99 // 100] * 1000,
        (_cpu(pid) - before) / (load.events * load.posts) * 1e6,
        peak / 1e6,
    )


@contextmanager
def api(folder: Path, url: str) -> Iterator[tuple[int, int]]:
    """Run `intentloop api`."""
    environ = {
        "DATABASE_URL": url,
        "INTENTLOOP_ADMIN_KEY": KEY,
        "INTENTLOOP_API_RATE_LIMIT": "0",
        "FALLBACK_DIR": str(folder / "fallback"),
    }
    with _server(folder, "api", ["-m", "intentloop_cli", "api"], environ) as running:
        yield running


@contextmanager
def minimal(folder: Path) -> Iterator[tuple[int, int]]:
    """Run the yardstick on the same server."""
    command = ["-m", "uvicorn", "bench.minimal:app", "--no-access-log", "--port", "0"]
    with _server(folder, "minimal", command, {}) as running:
        yield running


@contextmanager
def _server(
    folder: Path, name: str, command: Sequence[str], environ: dict[str, str]
) -> Iterator[tuple[int, int]]:
    port = _free_port()
    command = [str(port) if part == "0" else part for part in command]
    with claim(folder.absolute(), name) as place:
        server = ServerProcess(
            name=name,
            command=[sys.executable, *command],
            claim=place,
            ready=lambda: _listens(port),
            environ={**os.environ, **environ, "INTENTLOOP_API_PORT": str(port)},
        )
        server.start()
        try:
            assert server.pid
            yield port, server.pid
        finally:
            server.stop()


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _requests(load: Load, port: int, seed: int) -> Iterator[bytes]:
    rng = Random(seed)
    for post in range(load.posts):
        events = [_event(rng, seed, post * load.events + i) for i in range(load.events)]
        body = json.dumps({"conversations": events}).encode()
        yield (
            f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-API-KEY: {KEY}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body


def _event(rng: Random, seed: int, number: int) -> dict[str, object]:
    return {
        "phoneNumber": f"+9198765{number % 100_000:05d}",
        "messageText": rng.choice(TEXTS),
        "intent": f"intent_{rng.randrange(20)}",
        "confidence": round(rng.betavariate(6, 1.2), 3),
        "currentStep": "main_menu",
        "timestamp": NOON + number,
        "eventId": f"e-{seed}-{number}",
        "modelVersion": "v1",
    }


async def _post_all(
    requests: list[bytes], connections: int, port: int, pid: int, times: list[float]
) -> int:
    waiting = iter(requests)
    peak = asyncio.create_task(_peak_memory(pid))
    await asyncio.gather(*(_post(waiting, port, times) for _ in range(connections)))
    peak.cancel()
    with suppress(asyncio.CancelledError):
        await peak
    return _seen_peak[0]


async def _post(waiting: Iterator[bytes], port: int, times: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for request in waiting:
        started = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
        await reader.readexactly(int(length))
        times.append(time.perf_counter() - started)
    writer.close()


_seen_peak = [0]


async def _peak_memory(pid: int) -> None:
    process = psutil.Process(pid)
    _seen_peak[0] = 0
    while True:
        _seen_peak[0] = max(_seen_peak[0], process.memory_info().rss)
        await asyncio.sleep(0.05)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


if __name__ == "__main__":
    main()
