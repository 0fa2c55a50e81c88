"""A run whose parts are up: the bot at work, its player, and the results so far."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text
from sqlalchemy import make_url

from intentloop_demo.bot import Bot
from intentloop_demo.learning import Learning, learning
from intentloop_demo.model import Nlu, ServedModel, StartModel
from intentloop_demo.parts import Parts, running_parts
from intentloop_demo.player import Player
from intentloop_demo.report import Places, Report
from intentloop_demo.results import Results
from intentloop_demo.reviewer import Truth
from intentloop_demo.settings import SimulationSettings
from intentloop_producer import ConversationLogger, LoggerSettings

_LAST_WINDOWS = 6
_PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.1


class StalledError(Exception):
    """The worker has ended or stores nothing any more."""


@dataclass(frozen=True, slots=True)
class Session:
    """Everything that a run works with."""

    parts: Parts
    player: Player
    results: Results
    places: Places
    learning: Learning | None = None

    def report(self) -> Report:
        """Return what has come of it so far."""
        return Report(
            self.player.sent,
            self.results.totals(),
            self.results.intents(),
            self.results.last_windows(_LAST_WINDOWS),
            self.places,
        )

    def await_all(self, show: Callable[[], object], *, patience: float = _PATIENCE_SECONDS) -> None:
        """Block until every record that was sent is accounted for.

        Raises StalledError when the worker has ended or nothing moves for `patience` seconds.
        """
        accounted, deadline = -1, 0.0
        while (totals := self.results.totals()).accounted < self.player.sent.produced:
            show()
            self.check_worker()
            if totals.accounted != accounted:
                accounted, deadline = totals.accounted, time.monotonic() + patience
            if time.monotonic() > deadline:
                raise StalledError(
                    f"nothing was stored for {patience:.0f} s, {accounted} of "
                    f"{self.player.sent.produced} records are accounted for; "
                    f"see {self.places.worker_log}"
                )
            time.sleep(_LOOK_SECONDS)
        show()

    def check_worker(self) -> None:
        """Raise StalledError when the worker has ended."""
        if self.parts.worker.pid is None:
            raise StalledError(f"the worker has ended; see {self.places.worker_log}")


@contextmanager
def open_session(
    folder: Path,
    environ: Mapping[str, str],
    console: Console,
    *,
    now: datetime,
    fresh: bool,
    simulation: SimulationSettings | None = None,
) -> Iterator[Session]:
    """Start all parts and a bot, and stop them at the end.

    With `simulation` there are the HTTP API, training and the server of its models, too, and the
    loop between them, unless it is turned off.

    Raises what `running_parts` raises.
    """
    run = now.strftime("%Y%m%dt%H%M%S")
    with (
        running_parts(
            folder, environ, run, fresh=fresh, serve=simulation is not None, say=_saying(console)
        ) as parts,
        _conversation_log(folder / "bot.log"),
        ConversationLogger(
            # A journal of this run's own: what an interrupted run left is not this run's traffic.
            LoggerSettings(
                enabled=True, topic=parts.topic.name, journal_dir=folder / "journal" / run
            ),
            kafka=parts.topic.kafka,
        ) as logger,
    ):
        bot = Bot(_nlu(parts, run), logger)
        truth = Truth()
        with (
            closing(Results(parts.postgres.url, parts.topic.id, bot.versions)) as results,
            _loop(parts, truth, simulation) as loop,
        ):
            player = Player(bot, logger, parts.topic, truth.hear if loop else None)
            yield Session(parts, player, results, _places(parts, folder), loop)


def _nlu(parts: Parts, run: str) -> Nlu:
    # A model is trained at every start; its version says from what and when.
    classifier = parts.understanding.classifier
    start = StartModel(classifier, f"{classifier.version}-{run}")
    return ServedModel(parts.services.nlu.url, start) if parts.services else start


def _loop(
    parts: Parts, truth: Truth, simulation: SimulationSettings | None
) -> AbstractContextManager[Learning | None]:
    if simulation is None or not simulation.reviewer:
        return nullcontext()
    return learning(parts.postgres.url, truth, simulation)


def _saying(console: Console) -> Callable[[str, str], None]:
    return lambda part, line: console.print(Text.assemble((f"{part:<10}", "bold"), line))


@contextmanager
def _conversation_log(path: Path) -> Iterator[None]:
    """Write what the logger says to a file, as a bot would."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
    logger = logging.getLogger("intentloop.conversation")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
        handler.close()


def _places(parts: Parts, folder: Path) -> Places:
    return Places(
        kafka=parts.kafka.about,
        postgres=parts.postgres.about,
        topic=parts.topic.name,
        database_url=make_url(parts.postgres.url).render_as_string(hide_password=True),
        folder=str(folder.absolute()),
        bot_log=str(folder / "bot.log"),
        worker_log=str(parts.worker.log),
        still_running=parts.postgres.kind == "given",
    )
