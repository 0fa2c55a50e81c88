"""The regression guard: a quick race of ours against a raw COPY, judged by a recorded ratio.

`python -m bench.guard --record` measures the baseline on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from bench import raw_copy
from bench.__main__ import FOLDER, say
from bench.contest import Run
from bench.contestants import contestants
from bench.expected import recompute
from bench.ground import Ground, ground
from bench.results import circumstances
from bench.traffic import Traffic

EVENTS = 150_000
PAIRS = 3
"""At the most; a baseline is the median of more."""
ALLOWED_FALL = 0.30
"""Share of the recorded ratio by which the best pair may fall."""
RAW_FLOOR = 40_000.0
"""Rows a second of a raw COPY below which the machine is too busy for a judgement."""
BASELINE = Path(__file__).with_name("baseline.json")


@dataclass(frozen=True)
class Pair:
    """Ours and a raw COPY of the same rows, next to each other, in events a second."""

    ours: float
    raw: float

    @property
    def ratio(self) -> float:
        """Ours by raw."""
        return self.ours / self.raw


@dataclass(frozen=True)
class Verdict:
    """What the guard says."""

    kind: str
    """good, bad, or none when it does not judge."""
    reason: str


def judge(pairs: Sequence[Pair], baseline: float) -> Verdict:
    """Compare the best pair with the recorded ratio.

    The best, because whatever else runs on the machine can only make a pair worse.
    """
    calm = [pair for pair in pairs if pair.raw >= RAW_FLOOR]
    if not calm:
        fastest = max(pair.raw for pair in pairs)
        return Verdict(
            "none",
            f"the machine is too busy: a raw COPY reached {fastest:,.0f} rows/s, under the floor "
            f"of {RAW_FLOOR:,.0f}",
        )
    best = max(pair.ratio for pair in calm)
    least = baseline * (1 - ALLOWED_FALL)
    says = f"best ratio to raw COPY {best:.2f} of {len(calm)} pairs, recorded {baseline:.2f}"
    return Verdict("good" if best >= least else "bad", f"{says}, at least {least:.2f} wanted")


def check(place: Ground, baseline: float) -> Verdict:
    """Measure until a pair is good, which no further one could change, or the last is not."""
    pairs: list[Pair] = []
    for pair in islice(measure(place), PAIRS):
        pairs.append(pair)
        verdict = judge(pairs, baseline)
        if verdict.kind == "good":
            break
    return verdict


def measure(place: Ground, events: int = EVENTS) -> Iterator[Pair]:
    """Measure pairs without end. Raises AssertionError when the worker's output is wrong."""
    topic = f"guard-{events}"
    place.topic(topic, Traffic(events))
    expected = recompute(place.bootstrap_servers, topic)
    (ours, *_) = contestants(peers=False)
    run = Run(place, ours, ours.prepare(), topic, expected, ticks=4)
    while True:
        with place.database("bench_guard") as url:
            outcome = run.outcome(url)
            assert not outcome.problems, outcome.problems
            raw_copy.dump(url, place.folder / "guard")
        with place.database("bench_guard") as url:
            seconds = raw_copy.seconds(url, place.folder / "guard")
        yield Pair(outcome.events_per_second or 0.0, events / seconds)


def recorded() -> float | None:
    """Return the ratio that was recorded, None when none was."""
    if not BASELINE.exists():
        return None
    return float(json.loads(BASELINE.read_text(encoding="utf-8"))["ratio"])


def record(pairs: Sequence[Pair], about: dict[str, Any]) -> None:
    """Keep the median ratio as the baseline, with where it was measured."""
    ratios = sorted(round(pair.ratio, 3) for pair in pairs)
    baseline = {"ratio": ratios[len(ratios) // 2], "pairs": ratios, "events": EVENTS, **about}
    BASELINE.write_text(json.dumps(baseline, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Measure, then judge or record."""
    parser = argparse.ArgumentParser(prog="python -m bench.guard", description=__doc__)
    parser.add_argument("--record", action="store_true", help="make this the baseline")
    options = parser.parse_args()
    baseline = recorded()
    with ground(FOLDER) as place:
        if options.record:
            pairs = list(islice(measure(place), 2 * PAIRS - 1))
            record(pairs, circumstances(place))
            for pair in pairs:
                say(f"{pair.ours:,.0f} by {pair.raw:,.0f}: {pair.ratio:.2f}")
        else:
            say(check(place, baseline).reason if baseline else "no baseline is recorded")


if __name__ == "__main__":
    main()
