"""`intentloop demo` and `intentloop up`: everything started, played, awaited, and reported."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from threading import Event

import psycopg2
from confluent_kafka import KafkaException
from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from intentloop_demo.live import LiveTraffic
from intentloop_demo.player import NotDeliveredError
from intentloop_demo.report import render, status
from intentloop_demo.session import Session, StalledError, open_session
from intentloop_demo.settings import SimulationSettings
from intentloop_demo.traffic import Customers, Delivery, damaged_records, play
from intentloop_devstack import UnavailableError
from intentloop_sink import DatabaseUnavailableError, SchemaError
from intentloop_sink.catalogue import SlowQueryError

CONVERSATIONS = 3_000
MINUTES = 6.0
DAMAGED = 12
LIVE_RATE = 1.5
"""New conversations a second; each has two messages on average."""
INTERRUPTED = 130
_TICK_SECONDS = 0.25
_TROUBLE = (
    psycopg2.Error,
    UnavailableError,
    KafkaException,
    DatabaseUnavailableError,
    SlowQueryError,
    SchemaError,
    NotDeliveredError,
    StalledError,
)


def run_demo(
    folder: Path,
    environ: Mapping[str, str],
    console: Console,
    *,
    conversations: int = CONVERSATIONS,
    seed: int = 1,
) -> int:
    """Play some minutes of traffic through everything and report what came of it.

    Starts Kafka and Postgres unless `environ` names them, with empty tables, and stops what it
    started. Blocks for about 15 s; the first time Kafka is fetched before.

    Returns 0 when every record is accounted for, else 1 after saying what is wrong.
    """
    return _ending_well(console, lambda: _demo(folder, environ, console, conversations, seed))


def run_up(
    folder: Path, environ: Mapping[str, str], console: Console, simulation: SimulationSettings
) -> int:
    """Run everything with live traffic until Ctrl-C or SIGTERM, then report.

    A simulated reviewer decides what is flagged, and from time to time a model is trained on it,
    unless `simulation` says otherwise. The tables keep what earlier runs and the demo have stored,
    and the folder their models. Must be called in the main thread.

    Returns 0 when every record is accounted for, else 1 after saying what is wrong.
    """
    return _ending_well(console, lambda: _up(folder, environ, console, simulation))


def _ending_well(console: Console, run: Callable[[], int]) -> int:
    try:
        return run()
    except _TROUBLE as error:
        console.print(_plain(error), style="red", markup=False, highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted; everything that was started has stopped.")
        return INTERRUPTED


def _plain(error: Exception) -> str:
    return f"Kafka: {error.args[0].str()}" if isinstance(error, KafkaException) else str(error)


def _demo(
    folder: Path, environ: Mapping[str, str], console: Console, conversations: int, seed: int
) -> int:
    rng = Random(seed)
    with open_session(folder, environ, console, now=datetime.now(UTC), fresh=True) as session:
        customers = Customers(session.parts.understanding.unseen, rng)
        deliveries = play(customers, conversations, until_ms=_now_ms(), minutes=MINUTES, rng=rng)
        damaged = damaged_records(DAMAGED, rng)
        _play(session, deliveries, damaged, console)
        return _conclude(session, console)


def _play(
    session: Session, deliveries: list[Delivery], damaged: list[bytes], console: Console
) -> None:
    columns = (TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn(),
               TimeElapsedColumn())  # fmt: skip
    with Progress(*columns, console=console) as progress:
        total = len(deliveries) + len(damaged)
        produced = progress.add_task("produced", total=total)
        stored = progress.add_task("stored", total=total)

        def show() -> None:
            progress.update(produced, completed=session.player.sent.produced)
            progress.update(stored, completed=session.results.totals().accounted)

        session.player.damage(damaged)
        session.player.play(deliveries, show)
        session.await_all(show)


def _up(
    folder: Path, environ: Mapping[str, str], console: Console, simulation: SimulationSettings
) -> int:
    rng = Random(time.time_ns())
    with open_session(
        folder, environ, console, now=datetime.now(UTC), fresh=False, simulation=simulation
    ) as session:
        customers = Customers(session.parts.understanding.unseen, rng)
        traffic = LiveTraffic(customers, LIVE_RATE, _now_ms(), rng)
        with _stop_signals() as stop:
            _live(session, traffic, console, stop)
        console.print("Stopping: the last batches are being stored.")
        session.player.settle()
        session.await_all(lambda: None)
        return _conclude(session, console)


def _live(session: Session, traffic: LiveTraffic, console: Console, stop: Event) -> None:
    """Play traffic as it happens and show where things stand."""
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while not stop.wait(_TICK_SECONDS):
            session.player.deliver(traffic.due(_now_ms()))
            session.check_worker()
            if session.learning:
                session.learning.step(datetime.now(UTC))
            live.update(_status(session), refresh=True)


def _status(session: Session) -> RenderableType:
    loop = session.learning
    return status(session.report(), loop.progress() if loop else None)


@contextmanager
def _stop_signals() -> Iterator[Event]:
    """Yield an event that Ctrl-C and SIGTERM set, so that neither tears a count apart."""
    stop = Event()
    before = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _conclude(session: Session, console: Console) -> int:
    report = session.report()
    console.print(render(report))
    return 0 if report.adds_up else 1


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
