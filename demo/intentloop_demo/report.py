"""The report of a run: figures in, a page for the terminal out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from intentloop_demo.learning import Progress
from intentloop_demo.results import IntentFigures, Sent, Totals, WindowFigures
from intentloop_schemas import dead_letter_topic

_SHOWN_LIVE = 5
_BLOCKS = "▁▂▃▄▅▆▇█"
_QUERIES = (
    """SELECT * FROM "Dataset" WHERE id = 'ds-auto-training'""",
    """
    SELECT id, input, intent, tags, "createdAt" FROM "Example"
    WHERE "datasetId" = 'ds-auto-training' ORDER BY "createdAt" DESC LIMIT 20
    """,
    """
    SELECT CASE WHEN tags @> ARRAY['needs_review'] THEN 'Low Confidence'
    ELSE 'High Confidence' END as category, COUNT(*) as count
    FROM "Example" WHERE "datasetId" = 'ds-auto-training' GROUP BY category
    """,
)


@dataclass(frozen=True, slots=True)
class Places:
    """Where the data lies. `database_url` must be fit to be shown."""

    kafka: str
    postgres: str
    topic: str
    database_url: str
    folder: str
    bot_log: str
    worker_log: str
    still_running: bool
    """Whether the database can be asked after the report."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is reported."""

    sent: Sent
    totals: Totals
    intents: Sequence[IntentFigures]
    windows: Sequence[WindowFigures]
    places: Places

    @property
    def adds_up(self) -> bool:
        """Whether every record that was produced is stored, a duplicate, or rejected."""
        return self.sent.produced == self.totals.accounted


def render(report: Report) -> RenderableType:
    """Return the whole report, fit for 80 columns."""
    return Group(
        Rule("What came of it"),
        _figures(report),
        verdict(report),
        Rule("Intents"),
        _intents(report.intents),
        Rule("Last windows"),
        _windows(report.windows),
        Rule("Where the data lies"),
        _places(report.places),
        Rule("What to try next"),
        _next_steps(report.places),
    )


def status(report: Report, loop: Progress | None = None) -> RenderableType:
    """Return what fits on one screen while traffic goes on; `loop` is how far that is."""
    return Group(
        Rule("Live, until Ctrl-C"),
        _figures(report),
        Rule("Intents"),
        _intents(report.intents[:_SHOWN_LIVE]),
        Rule("Last windows"),
        _windows(report.windows[-_SHOWN_LIVE:]),
        Rule("The loop"),
        _loop(loop),
        Rule(),
        Text(f'DATABASE_URL={report.places.database_url}\npsql "$DATABASE_URL"', overflow="fold"),
    )


def verdict(report: Report) -> Text:
    """Say whether the numbers add up, and how many records are missing when they do not."""
    totals = report.totals
    equation = (
        f"produced {report.sent.produced:,} {'=' if report.adds_up else '≠'} "
        f"stored {totals.stored:,} + duplicates {totals.duplicates:,} "
        f"+ rejected {totals.rejected:,}"
    )
    if report.adds_up:
        return Text(equation, style="bold green")
    difference = report.sent.produced - totals.accounted
    which = f"{difference:,} missing" if difference > 0 else f"{-difference:,} too many"
    return Text(f"{equation}: {which}", style="bold red")


def histogram(bins: Sequence[int]) -> str:
    """Draw the square roots of counts as blocks, the highest full.

    Most confidences are high: beside them the others would vanish if counts were drawn as such.
    """
    highest = max(bins, default=0) or 1
    heights = (math.ceil(len(_BLOCKS) * math.sqrt(count / highest)) for count in bins)
    return "".join(_BLOCKS[height - 1] if height else " " for height in heights)


def percent(part: float, whole: float = 1) -> str:
    """Return a share in percent; of nothing, a dash."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _loop(loop: Progress | None) -> RenderableType:
    if loop is None:
        return Text("The queue is left to people: INTENTLOOP_SIMULATION_REVIEWER is false.")
    job = loop.job
    trained = "no job yet" if job is None else f"{job.id} is {job.status}, {job.progress:.0%}"
    outcome = (job.reason or f"{job.model_version} promoted") if job and job.status.is_final else ""
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(overflow="fold")
    grid.add_row("reviewed", f"{loop.reviewed:,} cards, by a simulation that knows the truth")
    grid.add_row("training", trained)
    grid.add_row("outcome", Text(outcome))
    return grid


def _figures(report: Report) -> RenderableType:
    sent, totals = report.sent, report.totals
    letters = dead_letter_topic(report.places.topic)
    flagged = percent(totals.flagged, totals.stored)
    understood = percent(sent.understood, sent.messages)
    speed = round(totals.accounted / totals.seconds) if totals.seconds else 0
    rows = [
        (
            "produced",
            sent.produced,
            f"{sent.messages:,} messages, {sent.damaged} records damaged on purpose",
        ),
        ("stored", totals.stored, "one example each"),
        ("duplicates", totals.duplicates, f"{sent.redelivered} webhooks were delivered twice"),
        ("rejected", totals.rejected, f"with the reason in {letters}"),
        ("flagged", totals.flagged, f"{flagged} of what is stored, for a person to review"),
        ("batches", totals.batches, "each closed when full, when old, or at the end"),
        (
            "events/s",
            speed,
            f"{totals.seconds:.1f} s, first record to last commit, worker's start included",
        ),
        ("understood", sent.understood, f"{understood} of messages that the NLU was not taught"),
    ]
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(justify="right")
    grid.add_column(overflow="fold")
    for name, count, note in rows:
        grid.add_row(name, f"{count:,}", Text(note, style="dim"))
    return grid


def _intents(intents: Sequence[IntentFigures]) -> RenderableType:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("intent", no_wrap=True, max_width=24)
    for heading in ("messages", "mean", "low"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("confidence 0 to 1", no_wrap=True)
    for row in intents:
        table.add_row(
            row.intent,
            f"{row.count:,}",
            f"{row.mean_confidence:.2f}",
            percent(row.low_share),
            Text(histogram(row.histogram), style="cyan"),
        )
    return table


def _windows(windows: Sequence[WindowFigures]) -> RenderableType:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("window (UTC)", no_wrap=True)
    for heading in ("messages", "mean", "flagged", "late"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in windows:
        table.add_row(
            f"{row.start:%H:%M:%S} + {row.seconds} s",
            f"{row.count:,}",
            f"{row.mean_confidence:.2f}",
            percent(row.flagged, row.count),
            f"{row.late:,}",
        )
    return table


def _places(places: Places) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(overflow="fold")
    grid.add_row("Kafka", places.kafka)
    grid.add_row("topic", places.topic)
    grid.add_row("Postgres", places.postgres)
    grid.add_row("database", places.database_url)
    grid.add_row("folder", places.folder)
    grid.add_row("logs", f"{places.bot_log} (grep conversation), {places.worker_log}")
    return grid


def _next_steps(places: Places) -> RenderableType:
    if places.still_running:
        first = "The database is still there, with DATABASE_URL set as it was for this run:"
    else:
        first = (
            "Kafka and Postgres have stopped with this run. `make up` starts them again with live "
            "traffic, on the same tables, and prints their addresses. Then:"
        )
    commands = (Padding(psql(query), (1, 0, 0, 2)) for query in _QUERIES)
    return Group(Text(first), *commands)


def psql(query: str) -> Text:
    """Return the shell command that asks a query; it still works where a line is broken."""
    quoted = " ".join(query.split()).replace('"', r"\"")
    return Text(f'psql "$DATABASE_URL" -c "{quoted}"', overflow="fold")
