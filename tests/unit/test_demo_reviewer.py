"""What the simulated reviewer knows and says."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from intentloop_demo.reviewer import Truth, verdict
from intentloop_demo.traffic import Customers
from intentloop_demo.utterances import load_utterances
from intentloop_sink.review import Verdict

[MESSAGE] = Customers(load_utterances(), Random(3)).converse(1_700_000_000_000)[:1]


@pytest.mark.parametrize(
    ("predicted", "meant", "said"),
    [
        ("help", "help", (Verdict.ACCEPT, None)),
        ("help", "thanks", (Verdict.CORRECT, "thanks")),
        ("help", "out_of_scope", (Verdict.OUT_OF_SCOPE, None)),
        ("out_of_scope", "out_of_scope", (Verdict.ACCEPT, None)),
        ("out_of_scope", "help", (Verdict.CORRECT, "help")),
    ],
)
def test_it_says_what_the_customer_meant(
    predicted: str, meant: str, said: tuple[Verdict, str | None]
) -> None:
    assert verdict(predicted, meant) == said


def test_it_knows_the_words_it_has_heard_however_they_are_written() -> None:
    truth = Truth()
    truth.hear(replace(MESSAGE, text="Where is it?", step="menu", meant="track_order"))

    assert truth.of("where IS it!!", "menu") == "track_order"


def test_it_knows_nothing_of_other_words_and_other_steps() -> None:
    truth = Truth()
    truth.hear(replace(MESSAGE, text="yes", step="confirm", meant="affirm"))

    assert truth.of("yes", "main_menu") is None
    assert truth.of("no", "confirm") is None
