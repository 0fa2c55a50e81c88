"""Writes the figures of a run of the faults into docs/reliability.md: `make faults` does so.

python -m support.reliability var/faults.xml docs/reliability.md
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree

from bench.document import circumstances, fill, table
from intentloop_devstack.kafka_jars import VERSION as KAFKA

ORACLE = ("accepted", "lost", "duplicated", "drift", "inversions")
COLUMNS = (*ORACLE, "recovery_seconds", "log_p99_ms")
HEADER = ("scenario", *ORACLE, "recovered after, s", "log() p99, ms", "more")
BITES = "test_the_oracle_bites"


@dataclass(frozen=True, slots=True)
class Case:
    """One test of the run."""

    module: str
    name: str
    seconds: float
    figures: dict[str, str]

    @property
    def title(self) -> str:
        """The test's name as a phrase."""
        name, _, variant = self.name.removeprefix("test_").removesuffix("]").partition("[")
        return name.replace("_", " ") + (f" ({variant.replace('_', ' ')})" if variant else "")

    def row(self) -> Sequence[str]:
        """The figures as a row; a scenario need not have all."""
        more = (
            f"{name.replace('_', ' ')} {value}"
            for name, value in self.figures.items()
            if name not in (*COLUMNS, "postgres")
        )
        known = (self.figures.get(name, "") for name in COLUMNS)
        return (self.title, *known, ", ".join(more))


def cases(report: Path) -> Iterator[Case]:
    """Yield the tests of a JUnit report. Raises ValueError when one did not pass."""
    for case in ElementTree.parse(report).iter("testcase"):
        name, module = case.get("name", ""), case.get("classname", "").rpartition(".")[2]
        if any(case.find(bad) is not None for bad in ("failure", "error", "skipped")):
            raise ValueError(f"{module}.{name} did not pass")
        yield Case(module, name, float(case.get("time", 0)), _figures(case))


def document(run: Sequence[Case], tests: Path) -> str:
    """Return the tables of a run. Tests ran side by side, so that their order means nothing."""
    run = sorted(run, key=lambda case: (case.module, case.name))
    postgres = next((c.figures["postgres"] for c in run if "postgres" in c.figures), "")
    minutes = sum(case.seconds for case in run) / 60
    taken = f"The tests took {minutes:.0f} minutes together; two ran at a time."
    parts = [f"{circumstances(Kafka=KAFKA, Postgres=postgres)} {taken}"]
    judged = [case for case in run if "accepted" in case.figures]
    for module, same in groupby(judged, key=lambda case: case.module):
        parts += [f"### {_heading(tests / 'faults' / f'{module}.py')}"]
        parts += [table(HEADER, (case.row() for case in same))]
    caught = [[case.title, f"{case.seconds:.0f}"] for case in run if case.module == BITES]
    parts += [f"### {_heading(tests / 'faults' / f'{BITES}.py')}"]
    parts += [table(("change to the worker", "passed after, s"), caught)]
    others = [case for case in run if case not in judged and case.module != BITES]
    parts += ["### Other tests of the run"]
    parts += [table(("test", "seconds"), [[c.title, f"{c.seconds:.0f}"] for c in others])]
    return "\n\n".join(parts)


def _figures(case: ElementTree.Element) -> dict[str, str]:
    """Return the properties of a test; of a recovery that came twice the longer one."""
    figures: dict[str, str] = {}
    for each in case.iter("property"):
        name, value = each.get("name", ""), each.get("value", "")
        is_longer = name in figures and name.endswith("_seconds")
        figures[name] = max(value, figures[name], key=float) if is_longer else value
    return figures


def _heading(module: Path) -> str:
    text = ast.get_docstring(ast.parse(module.read_text())) or module.stem
    return text.splitlines()[0].rstrip(".")


if __name__ == "__main__":
    report_path, document_path = map(Path, sys.argv[1:])
    text = document(list(cases(report_path)), Path(__file__).parents[1])
    fill(document_path, "figures", text)
