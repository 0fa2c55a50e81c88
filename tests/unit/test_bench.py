"""The pure parts of the benchmarks: who runs when, what counts, what the report says."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench import report
from bench.contestant import OURS, OURS_TWICE, RAW, assigned, ready_line
from bench.guard import RAW_FLOOR, Pair, judge
from bench.latency import latencies
from bench.percentiles import summary
from bench.race import Plan, ratios, schedule
from bench.scale import standstill
from bench.workers import Sight

ABOUT = {
    "kind": "about",
    "at": "2026-01-01 00:00 UTC",
    "commit": "abc",
    "machine": "2 cores",
    "load_before": 0.1,
    "versions": {"python": "3.11"},
}


def run(name: str, speed: float | None, number: int = 0, problems: tuple[str, ...] = ()) -> Any:
    return {
        "kind": "run",
        "contestant": name,
        "number": number,
        "events": 10,
        "seconds": 1.0,
        "startup_seconds": 0.5,
        "events_per_second": speed,
        "cpu_us_per_event": 5.0,
        "peak_mb": 100.0,
        "problems": list(problems),
    }


def test_everybody_runs_as_often_as_planned_and_ours_next_to_raw_copy() -> None:
    order = schedule(Plan(10, pairs=5, rounds=3, seed=4), ["a", "b"])

    assert Counter(name for name, _ in order) == {
        **dict.fromkeys((OURS, OURS_TWICE, RAW), 5),
        **dict.fromkeys("ab", 3),
    }
    places = {slot: place for place, slot in enumerate(order)}
    for name in (OURS, OURS_TWICE):
        assert all(abs(places[name, pair] - places[RAW, pair]) == 1 for pair in range(5))
    first = [places[OURS, pair] < places[RAW, pair] for pair in range(5)]
    assert first == [True, False, True, False, True]


def test_the_seed_decides_the_order() -> None:
    plans = [Plan(10, seed=seed) for seed in (1, 1, 2)]
    one, same, other = (schedule(plan, ["a", "b"]) for plan in plans)

    assert one == same
    assert one != other


def test_a_pair_whose_run_was_wrong_gives_no_ratio() -> None:
    lines = [
        run(OURS, 60.0, 0),
        run(RAW, 100.0, 0),
        run(OURS, 90.0, 1, ("1 row missing",)),
        run(RAW, 100.0, 1),
    ]

    assert ratios(lines) == [0.6]
    assert ratios(lines, OURS_TWICE) == []


def test_the_best_pair_counts_for_the_guard() -> None:
    pairs = [Pair(10_000, 100_000), Pair(50_000, 100_000)]

    assert judge(pairs, baseline=0.6).kind == "good"
    assert judge(pairs, baseline=0.72).kind == "bad"
    assert "0.50" in judge(pairs, baseline=0.72).reason


def test_the_guard_does_not_judge_on_a_machine_that_is_too_busy() -> None:
    verdict = judge([Pair(1_000, RAW_FLOOR - 1)], baseline=0.6)

    assert verdict.kind == "none"
    assert "too busy" in verdict.reason


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(1, 1_001)]

    assert summary(values) == {"p50": 500, "p90": 900, "p99": 990, "p999": 999, "max": 1000}
    assert summary([7.0])["p999"] == 7.0


def test_an_event_is_seen_when_its_partition_stands_beyond_its_offset() -> None:
    due = {0: [1_000_000, 2_000_000, 3_000_000], 1: [2_500_000]}
    sights = [Sight(2.5, 0, 1), Sight(3.5, 0, 3), Sight(4.5, 1, 1)]

    assert latencies(due, sights, warm_up_seconds=0) == [1_500, 1_500, 500, 2_000]
    assert latencies(due, sights, warm_up_seconds=1) == [1_500, 500, 2_000]


def test_a_standstill_is_of_all_partitions_or_of_the_worst() -> None:
    sights = [Sight(1, 0, 1), Sight(2, 1, 1), Sight(3, 0, 2), Sight(8, 0, 3), Sight(9, 1, 2)]

    measured = standstill(sights, 0, 10)

    assert measured == {"still_seconds": 5, "worst_partition_seconds": 7}


def test_a_partition_that_never_moves_stands_still_the_whole_time() -> None:
    measured = standstill([Sight(-5, 1, 1), Sight(5, 0, 1)], 0, 10)

    assert measured["worst_partition_seconds"] == 10


def test_contestants_say_when_they_read() -> None:
    line = {"event": "assigned", "positions": {"0": 5}, "timestamp": "2026-01-01T00:00:00+00:00"}
    empty = {**line, "positions": {}, "timestamp": "2025-01-01T00:00:00+00:00"}

    assert ready_line("hello\nREADY 12.500\n") == 12.5
    assert ready_line("[WARNING] READY 12.500 ") == 12.5
    assert ready_line("starting") is None
    assert assigned(f"{json.dumps(empty)}\n{json.dumps(line)}\n") == 1767225600
    assert assigned(json.dumps(empty)) is None


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    return folder


def keep(folder: Path, name: str, *lines: Any) -> None:
    text = "\n".join(json.dumps(line) for line in lines)
    folder.joinpath(f"{name}.jsonl").write_text(text)


def test_the_report_shows_medians_ratios_and_who_was_wrong_or_absent(results: Path) -> None:
    names = {OURS: "ours", "slow": "slowly", "liar": "wrongly", "ghost": "not at all"}
    about = {**ABOUT, "events": 10, "partitions": 4, "contestants": names, "peer_versions": {}}
    keep(
        results,
        "race",
        about,
        {"kind": "absent", "contestant": "ghost", "reason": "no such package"},
        run(OURS, 60_000.0),
        run(RAW, 100_000.0),
        run("slow", 5_000.0),
        run("slow", 7_000.0),
        run("slow", 6_000.0),
        run("liar", 900_000.0, problems=("3 rows missing",)),
    )

    page = report.write(results).read_text()

    assert "| slow | 3 | 6,000 (5,000 to 7,000) | 10.0x |" in page
    assert "median **0.60** of 1 pairs" in page
    assert "liar: wrong in 1 runs.** 3 rows missing" in page
    assert "900,000" not in page
    assert "ghost: not run, no such package" in page
    assert results.joinpath("race.svg").exists()


def test_the_report_has_no_section_for_what_was_not_measured(results: Path) -> None:
    page = report.write(results).read_text()

    assert "##" not in page


def test_the_same_results_give_the_same_page_and_plots(results: Path) -> None:
    about = {**ABOUT, "events": 10, "partitions": 4, "contestants": {}, "peer_versions": {}}
    keep(results, "race", about, run(OURS, 60_000.0), run(RAW, 100_000.0))

    def rendered() -> tuple[str, bytes]:
        return report.write(results).read_text(), results.joinpath("race.svg").read_bytes()

    assert rendered() == rendered()
