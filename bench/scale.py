"""How the worker scales: with more workers, other events, more rows stored already."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

from bench import load, report
from bench.__main__ import FOLDER, say
from bench.check import FILLER
from bench.contest import Outcome, Run
from bench.contestants import contestants
from bench.expected import Expected, recompute
from bench.ground import Ground, execute, ground
from bench.race import describe
from bench.results import DEFAULT, Results, circumstances
from bench.traffic import Traffic
from bench.workers import Poller, Sight, Workers, wait_for, workers

WORKERS = (1, 2, 4)
MANY_PARTITIONS, FEW_PARTITIONS = 16, 4
STORED_MILLIONS = (0, 5, 20)
DUPLICATES = (0.0, 0.0001, 0.01)
PARTS = {
    "workers": f"Workers on {MANY_PARTITIONS} partitions",
    "shapes": "Many intents, senders, datasets",
    "stored": "Rows stored already",
    "duplicates": "Events sent twice",
}
REBALANCE = "rebalance"
_REBALANCE_RATE = 2_000
_SETTLE_SECONDS = 15.0
_WATCH_SECONDS = 30.0

# In order of id and of time, before all traffic, like rows of the weeks before.
_FILL = f"""
INSERT INTO "Example" (id, "datasetId", input, intent, tags, "createdAt", "eventId",
                       "predictedIntent", confidence, "reviewReasons", sender, channel,
                       "modelVersion", "currentStep")
SELECT 'ex-' || second || '-' || substr(md5(n::text), 1, 16), '{FILLER}',
       'where is my order, it was due yesterday', intent,
       ARRAY['confidence:95', 'source:' || sender, 'timestamp:' || second || '000'],
       to_timestamp(second), md5(n::text), intent, 0.95, '{{{{}}}}',
       sender, 'whatsapp', '', 'main_menu'
FROM generate_series({{first}}, {{last}}) AS n,
     LATERAL (SELECT 1700000000 + n / 100 AS second, 'intent_' || n % 40 AS intent,
                     '+1555' || lpad((n % 20000)::text, 7, '0') AS sender) AS row
"""
_MILLION = 1_000_000


class Scale:
    """Runs the worker in many cases; every case's output is checked as in the race."""

    def __init__(self, place: Ground, events: int, rounds: int, lines: Results) -> None:
        self._place = place
        self._events = events
        self._rounds = rounds
        self._lines = lines
        (self._ours, *_) = contestants(peers=False)
        self._prepared = self._ours.prepare()
        self._known: dict[tuple[Traffic, int], tuple[str, Expected]] = {}

    def workers(self) -> None:
        """Share many partitions among few and more workers."""
        traffic = Traffic(self._events)
        for number in WORKERS:
            case = "1 worker" if number == 1 else f"{number} workers"
            self._case("workers", case, traffic, MANY_PARTITIONS, processes=number)

    def shapes(self) -> None:
        """Vary what the events are like."""
        plain = Traffic(self._events)
        for case, traffic in (
            ("40 intents, 20,000 senders, 1 dataset", plain),
            ("5,000 intents", replace(plain, intents=5_000)),
            ("1,000,000 senders", replace(plain, senders=_MILLION)),
            ("100 datasets", replace(plain, datasets=100)),
        ):
            self._case("shapes", case, traffic)

    def duplicates(self) -> None:
        """Send some events twice."""
        for share in DUPLICATES:
            traffic = Traffic(self._events, duplicates=share)
            self._case("duplicates", f"{share:.2%} sent twice", traffic)

    def stored(self, millions: Sequence[int]) -> None:
        """Fill the table more and more; every run's rows are removed before the next."""
        with self._place.database("bench_stored") as url:
            filled = 0
            for million in millions:
                for part in range(filled, million):
                    first, last = part * _MILLION, (part + 1) * _MILLION - 1
                    execute(url, _FILL.format(first=first, last=last))
                filled = max(filled, million)
                for _ in range(self._rounds):
                    _make_room(url)
                    case = f"{million:,} million rows"
                    self._run("stored", case, Traffic(self._events), FEW_PARTITIONS, url, 1)

    def _case(
        self,
        part: str,
        case: str,
        traffic: Traffic,
        partitions: int = FEW_PARTITIONS,
        processes: int = 1,
    ) -> None:
        for _ in range(self._rounds):
            with self._place.database("bench_scale") as url:
                self._run(part, case, traffic, partitions, url, processes)

    def _run(
        self, part: str, case: str, traffic: Traffic, partitions: int, url: str, processes: int
    ) -> None:
        topic, expected = self._topic(traffic, partitions)
        ours = replace(self._ours, processes=processes)
        run = Run(self._place, ours, self._prepared, topic, expected, partitions)
        outcome: Outcome = run.outcome(url)
        self._lines.add("run", part=part, case=case, **asdict(outcome))
        say(describe(case, outcome))

    def _topic(self, traffic: Traffic, partitions: int) -> tuple[str, Expected]:
        """Return a topic with this traffic and what must come of it; the last one is kept."""
        key = (traffic, partitions)
        if key not in self._known:
            self._known.clear()
            topic = f"scale-{time.time_ns()}"
            self._place.topic(topic, traffic, partitions)
            self._known[key] = topic, recompute(self._place.bootstrap_servers, topic)
        return self._known[key]


def _make_room(url: str) -> None:
    """Leave nothing but the filler, in a table as tidy as autovacuum would leave it."""
    execute(url, f"""DELETE FROM "Example" WHERE "datasetId" <> '{FILLER}'""")
    for table in ("intent_window_stats", "intent_hourly_stats", "conversation_batch"):
        execute(url, f"TRUNCATE {table}")
    for table in ("ingest_offset", "dataset_counter"):
        execute(url, f"TRUNCATE {table}")
    execute(url, 'VACUUM (ANALYZE) "Example"')
    execute(url, "CHECKPOINT")


def rebalance(place: Ground, rounds: int, lines: Results) -> None:
    """Let a worker join, leave and die under a steady load, and see how long nothing moves."""
    for number in range(rounds):
        topic = f"rebalance-{number}"
        place.empty_topic(topic, MANY_PARTITIONS)
        with (
            place.database("bench_rebalance") as url,
            workers(place, topic, url, 1.0) as crew,
            Poller(url, 0.02) as poller,
            _steady_load(place, topic),
        ):
            crew.start()
            crew.start()
            wait_for(poller.stored, 30, "the first events stored")
            time.sleep(_SETTLE_SECONDS)
            for event, happen in _EVENTS.items():
                begin = time.time()
                happen(crew)
                time.sleep(max(0.0, begin + _WATCH_SECONDS - time.time()))
                measured = standstill(poller.sights, begin, begin + _WATCH_SECONDS)
                lines.add("rebalance", event=event, **measured)
                say(f"{event}: {measured}")


_EVENTS: dict[str, Callable[[Workers], object]] = {
    "a worker joins": lambda crew: crew.start(wait=False),
    "a worker leaves (SIGTERM)": lambda crew: crew.stop(crew.running[-1]),
    "a worker dies (SIGKILL)": lambda crew: crew.kill(crew.running[-1]),
}


@contextmanager
def _steady_load(place: Ground, topic: str) -> Iterator[None]:
    seconds = _SETTLE_SECONDS * 4 + _WATCH_SECONDS * (len(_EVENTS) + 1)
    sender = load.start(place.bootstrap_servers, topic, _REBALANCE_RATE, seconds)
    try:
        yield
    finally:
        sender.terminate()
        sender.wait(10)


def standstill(sights: Sequence[Sight], begin: float, end: float) -> dict[str, float]:
    """Return the longest time in which no partition, and in which some partition, did not move."""
    inside = [sight for sight in sights if begin <= sight.seen_at <= end]
    partitions = {sight.partition for sight in sights}
    each = [
        _longest_gap([s.seen_at for s in inside if s.partition == number], begin, end)
        for number in partitions
    ]
    overall = _longest_gap([sight.seen_at for sight in inside], begin, end)
    return {
        "still_seconds": round(overall, 2),
        "worst_partition_seconds": round(max(each, default=end - begin), 2),
    }


def _longest_gap(times: Sequence[float], begin: float, end: float) -> float:
    marks = [begin, *sorted(times), end]
    return max(after - before for before, after in pairwise(marks))


def main() -> None:
    """Measure and write the report."""
    options = _options()
    with ground(FOLDER) as place:
        chosen = [part for part in PARTS if part in options.only]
        if chosen:
            about = circumstances(place, parts=PARTS, events=options.events)
            scale = Scale(
                place, options.events, options.rounds, Results(options.results, "scale", about)
            )
            for part in chosen:
                say(PARTS[part])
                if part == "stored":
                    scale.stored(options.millions)
                else:
                    getattr(scale, part)()
        if REBALANCE in options.only:
            about = circumstances(place, rate=_REBALANCE_RATE, partitions=MANY_PARTITIONS)
            rebalance(place, options.rounds, Results(options.results, "rebalance", about))
    say(f"report: {report.write(options.results)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--events", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--millions", type=int, nargs="*", default=STORED_MILLIONS, help="rows stored already"
    )
    parser.add_argument("--only", nargs="*", default=[*PARTS, REBALANCE])
    parser.add_argument("--results", type=Path, default=DEFAULT)
    return parser.parse_args()


if __name__ == "__main__":
    main()
