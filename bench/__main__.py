"""Kafka to committed: ours, raw COPY of the same rows, and others on the same tables."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from statistics import median

from bench import report, stages
from bench.contestant import OURS, OURS_TWICE
from bench.contestants import contestants
from bench.ground import ground
from bench.race import Plan, Race, ratios
from bench.results import DEFAULT, Results, circumstances, read

FOLDER = Path("var/bench")


def main() -> None:
    """Run the race and write its report."""
    options = _options()
    chosen = contestants(peers=options.peers)
    if options.only:
        chosen = tuple(
            c for c in chosen if c.name.replace(",", "").split()[0].lower() in options.only
        )
    plan = Plan(options.events, options.pairs, options.rounds, options.seed)
    with ground(FOLDER) as place:
        Race(place, plan, say).run(chosen, options.results)
        measured = stages.measure(place, f"race-{plan.events}")
        Results(options.results, "stages", circumstances(place)).add("stages", **measured._asdict())
    lines = read(options.results, "race")
    for name in (OURS, OURS_TWICE):
        if found := ratios(lines, name):
            say(f"{name} / raw COPY: median {median(found):.2f} of {len(found)} pairs")
    say(f"report: {report.write(options.results)}")


def say(text: str) -> None:
    """Print a line with the time."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--pairs", type=int, default=5, help="of raw COPY, with ours on both sides")
    parser.add_argument("--rounds", type=int, default=3, help="of every other contestant")
    parser.add_argument("--seed", type=int, default=1, help="decides the order")
    parser.add_argument("--peers", action="store_true", help="with all peers")
    parser.add_argument(
        "--only", nargs="*", help="the first words of contestants, such as: intentloop flink"
    )
    parser.add_argument("--results", type=Path, default=DEFAULT, help="folder of the JSON lines")
    return parser.parse_args()


if __name__ == "__main__":
    main()
