"""The tables of docs/reliability.md are what a run of the faults measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.document import fill
from support.reliability import cases, document

TESTS = Path(__file__).parents[1]
FIGURES = {
    "accepted": 100,
    "lost": 0,
    "duplicated": 0,
    "drift": 0,
    "inversions": 0,
    "recovery_seconds": 1.5,
    "postgres": "18.1",
    "seed": 7,
}


def report(path: Path, *tests: str) -> Path:
    path.write_text(f"<testsuites><testsuite>{''.join(tests)}</testsuite></testsuites>")
    return path


def recorded(module: str, name: str, body: str = "", **figures: object) -> str:
    properties = "".join(f'<property name="{k}" value="{v}"/>' for k, v in figures.items())
    return (
        f'<testcase classname="tests.faults.{module}" name="{name}" time="12.3">'
        f"<properties>{properties}</properties>{body}</testcase>"
    )


def test_each_scenario_is_a_row_under_its_module_s_heading(tmp_path: Path) -> None:
    run = report(
        tmp_path / "faults.xml",
        recorded("test_worker_faults", "test_worker_killed[store.after_copy]", **FIGURES),
        recorded("test_the_oracle_bites", "test_plain_take"),
        recorded("test_journal", "test_a_bot_is_killed"),
    )
    text = document(list(cases(run)), TESTS)

    assert "### Workers that die or freeze at the worst moments\n" in text
    row = "| worker killed (store.after copy) | 100 | 0 | 0 | 0 | 0 | 1.5 |  | seed 7 |"
    assert row in text
    assert "| plain take | 12 |" in text
    assert "| a bot is killed | 12 |" in text
    assert "Postgres 18.1" in text


def test_of_two_recoveries_the_longer_counts(tmp_path: Path) -> None:
    twice = '<property name="recovery_seconds" value="9.5"/>'
    one = recorded("m", "test_x", **FIGURES).replace("<properties>", f"<properties>{twice}")
    (case,) = cases(report(tmp_path / "faults.xml", one))
    assert case.figures["recovery_seconds"] == "9.5"


@pytest.mark.parametrize("outcome", ["failure", "error", "skipped"])
def test_a_run_that_did_not_pass_writes_nothing(tmp_path: Path, outcome: str) -> None:
    run = report(tmp_path / "faults.xml", recorded("test_m", "test_x", f"<{outcome}/>"))
    with pytest.raises(ValueError, match=r"test_m\.test_x did not pass"):
        list(cases(run))


def test_only_the_named_part_of_a_document_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- a -->\nold\n<!-- end of a -->\nafter\n")
    fill(page, "a", "new")
    fill(page, "a", "newer")
    assert page.read_text() == "before\n<!-- a -->\n\nnewer\n\n<!-- end of a -->\nafter\n"
    with pytest.raises(ValueError, match="no part 'b'"):
        fill(page, "b", "x")
