"""All contestants in turn, in random order, on the same topic, broker and database server.

Five times ours, with one worker and with two, runs next to a raw COPY, in alternating order: the
ratio of such neighbours is what changes least with the machine and its mood.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import raw_copy
from bench.contest import Outcome, Run
from bench.contestant import OURS, OURS_TWICE, RAW, Contestant, Prepared, UnavailableError
from bench.expected import Expected, recompute
from bench.ground import Ground
from bench.results import Results, circumstances
from bench.traffic import Traffic

PARTITIONS = 4


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    events: int
    pairs: int = 5
    """Of raw COPY and ours beside it, with one worker and with two."""
    rounds: int = 3
    """Of every other contestant."""
    seed: int = 1


def schedule(plan: Plan, others: Sequence[str]) -> list[tuple[str, int]]:
    """Return (contestant, number of the pair or round) in the order in which they run."""
    blocks = [
        [(name, pair) for name in (OURS, RAW, OURS_TWICE)][:: -1 if pair % 2 else 1]
        for pair in range(plan.pairs)
    ]
    blocks += [[(name, number)] for name in others for number in range(plan.rounds)]
    random.Random(plan.seed).shuffle(blocks)
    return [slot for block in blocks for slot in block]


class Race:
    """A race: the topic is filled, what must come of it is known, the rows to copy are at hand."""

    def __init__(self, ground: Ground, plan: Plan, say: Callable[[str], None]) -> None:
        self._ground = ground
        self._plan = plan
        self._say = say
        self._topic = f"race-{plan.events}"
        self._dump = ground.folder / "dump"
        self._expected = Expected()

    def run(self, contestants: Sequence[Contestant], results: Path) -> None:
        """Run everything; every line of the results is on disk at once."""
        say = self._say
        prepared, absent = _prepare(contestants, say)
        about = circumstances(
            self._ground,
            **asdict(self._plan),
            partitions=PARTITIONS,
            contestants={c.name: c.about for c in contestants},
            peer_versions={
                c.name: prepared[c.name].versions for c in contestants if c.name in prepared
            },
        )
        lines = Results(results, "race", about)
        for name, reason in absent.items():
            lines.add("absent", contestant=name, reason=reason)
        say(f"producing {self._plan.events:,} events")
        self._ground.topic(self._topic, Traffic(self._plan.events), PARTITIONS)
        self._expected = recompute(self._ground.bootstrap_servers, self._topic)
        by_name = {c.name: c for c in contestants if c.name in prepared}
        self._warm_up(by_name[OURS], prepared[OURS])
        others = [name for name in by_name if name not in (OURS, OURS_TWICE)]
        for name, number in schedule(self._plan, others):
            outcome = (
                self._raw_copy() if name == RAW else self._contest(by_name[name], prepared[name])
            )
            lines.add("run", contestant=name, number=number, **asdict(outcome))
            say(describe(name, outcome))

    def _warm_up(self, ours: Contestant, prepared: Prepared) -> None:
        """Run once for nothing but the finished rows."""
        with self._ground.database("bench_rows") as url:
            outcome = self._run(ours, prepared).outcome(url)
            if outcome.problems:
                raise RuntimeError(
                    f"ours is wrong, so there is nothing to race: {outcome.problems}"
                )
            raw_copy.dump(url, self._dump)
        self._say(f"warmed up: {describe(OURS, outcome)}")

    def _contest(self, contestant: Contestant, prepared: Prepared) -> Outcome:
        with self._ground.database("bench_race") as url:
            return self._run(contestant, prepared).outcome(url)

    def _raw_copy(self) -> Outcome:
        with self._ground.database("bench_race") as url:
            seconds = raw_copy.seconds(url, self._dump)
        events = self._plan.events
        return Outcome(events, round(seconds, 3), events_per_second=round(events / seconds, 1))

    def _run(self, contestant: Contestant, prepared: Prepared) -> Run:
        return Run(self._ground, contestant, prepared, self._topic, self._expected, PARTITIONS)


def describe(name: str, outcome: Outcome) -> str:
    """Return one line about a run."""
    if outcome.problems:
        return f"{name}: WRONG: {'; '.join(outcome.problems)}"
    text = f"{name}: {outcome.events_per_second:,.0f} events/s"
    if outcome.cpu_us_per_event is not None:
        text += (
            f", {outcome.cpu_us_per_event:.1f} us of CPU an event, {outcome.peak_mb:.0f} MB at most"
        )
    return text


def _prepare(
    contestants: Sequence[Contestant], say: Callable[[str], None]
) -> tuple[dict[str, Prepared], dict[str, str]]:
    prepared: dict[str, Prepared] = {}
    absent: dict[str, str] = {}
    for contestant in contestants:
        try:
            prepared[contestant.name] = contestant.prepare()
        except UnavailableError as error:
            absent[contestant.name] = str(error)
            say(f"{contestant.name}: not run: {error}")
    return prepared, absent


def ratios(lines: Sequence[dict[str, Any]], ours: str = OURS) -> list[float]:
    """Return ours / raw COPY of every pair in which ours was right."""
    speeds = {
        (line["contestant"], line["number"]): line["events_per_second"]
        for line in lines
        if line["kind"] == "run" and not line["problems"]
    }
    pairs = sorted(number for name, number in speeds if name == ours)
    return [speeds[ours, pair] / speeds[RAW, pair] for pair in pairs if (RAW, pair) in speeds]
