"""What waits in the fallback's files, what a replay made of it, and why anything remains."""

from __future__ import annotations

from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from intentloop_sink import PostgresSink
from intentloop_sink.spool import ReplayReport, WriterReport, replay_all


def replay(folder: Path, sink: PostgresSink, *, dry_run: bool) -> ReplayReport:
    """Replay every spool that no live worker holds, with a bar for each. Blocks.

    May be interrupted anywhere: what was stored is not stored twice. Raises
    intentloop_sink.spool.SpoolError when a folder cannot be used.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, transient=True) as bars:
        tasks = {}

        def show(report: WriterReport, remaining: int) -> None:
            if report.writer not in tasks:
                tasks[report.writer] = bars.add_task(report.writer, total=report.events)
            bars.update(tasks[report.writer], completed=report.events - remaining)

        return replay_all(folder, sink, dry_run=dry_run, progress=show)


def table(report: ReplayReport, folder: Path) -> Table:
    """Return what became of each writer's files."""
    result = Table(title=f"Files in {folder}")
    for name in ("writer", "waited", "stored", "known", "rejected", "remains"):
        result.add_column(name, justify="left" if name in ("writer", "remains") else "right")
    for writer in report.writers:
        counts = (
            writer.events,
            writer.stored,
            writer.duplicates + writer.fenced,
            writer.rejected + writer.refused,
        )
        result.add_row(writer.writer, *map(str, counts), "\n".join(_remains(writer)))
    return result


def _remains(writer: WriterReport) -> list[str]:
    lines = [
        f"partition {rest.partition.partition}: {rest.events} events, {rest.reason}"
        for rest in writer.remaining
    ]
    if writer.is_held:
        lines.append("held by a live worker, which replays it itself if it has a DATABASE_URL")
    if writer.error:
        lines.append(writer.error)
    if writer.damage.lines:
        lines.append(f"{writer.damage.lines} damaged lines are set aside in corrupt/")
    return lines or ["nothing"]
