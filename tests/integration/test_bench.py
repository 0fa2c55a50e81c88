"""The benchmarks themselves: a right result passes, a wrong one is found, and the ratio is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import check, guard
from bench.contest import Run
from bench.contestants import contestants
from bench.expected import recompute
from bench.ground import Ground, execute
from bench.traffic import Traffic

EVENTS = 5_000


@pytest.fixture
def place(kafka: Any, postgres_server: Any, tmp_path: Path) -> Ground:
    return Ground(kafka.bootstrap_servers, postgres_server.url, tmp_path, {})


def test_a_contestant_s_output_is_checked_row_by_row_and_sum_by_sum(place: Ground) -> None:
    place.topic("bench-check", Traffic(EVENTS, duplicates=0.01))
    expected = recompute(place.bootstrap_servers, "bench-check")
    (ours, *_) = contestants(peers=False)

    with place.database("bench_check") as url:
        outcome = Run(place, ours, ours.prepare(), "bench-check", expected, 4).outcome(url)

        assert outcome.problems == []
        assert expected.duplicates > 0
        assert outcome.events == EVENTS
        assert outcome.events_per_second
        for harm, found in (
            (
                """UPDATE "Example" SET input = 'x' WHERE id = (SELECT min(id) FROM "Example")""",
                "content",
            ),
            ("""DELETE FROM "Example" WHERE id = (SELECT max(id) FROM "Example")""", "missing"),
            ("UPDATE intent_window_stats SET n = n + 1 WHERE intent = 'intent_1'", "windows"),
            ("UPDATE intent_hourly_stats SET flagged_n = 0 WHERE intent = 'intent_2'", "hours"),
        ):
            execute(url, harm)
            assert any(found in problem for problem in check.problems(url, expected, hours=True))


@pytest.mark.alone
@pytest.mark.skipif(guard.recorded() is None, reason="record one: python -m bench.guard --record")
def test_the_ratio_to_raw_copy_has_not_fallen(place: Ground) -> None:
    verdict = guard.check(place, guard.recorded() or 0.0)

    if verdict.kind == "none":
        pytest.skip(verdict.reason)
    assert verdict.kind == "good", verdict.reason
