"""What is learned from and what judges: no text on both sides, and a holdout that stays."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intentloop_schemas.texts import normalise
from intentloop_training.examples import LabelledExample, Snapshot
from intentloop_training.selection import Selection, SelectionRule, is_held_out, select

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RULE = SelectionRule()
WORDS = ["track", "order", "Order!", "ORDER", "refund", "12", "77", "नमस्ते", "hey", "heyyyy", ""]


def example(
    number: int,
    text: str,
    intent: str = "a",
    *,
    reviewed: bool = True,
    confidence: float = 0.95,
    predicted: str | None = None,
    rejected: bool = False,
) -> LabelledExample:
    return LabelledExample(
        f"ex-{number}",
        text,
        intent,
        predicted or intent,
        confidence,
        reviewed,
        NOW,
        rejected=rejected,
    )


texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join)
rows = st.lists(
    st.builds(
        lambda text, intent, reviewed, confidence: (text, intent, reviewed, confidence),
        texts,
        st.sampled_from(["a", "b", "nlu_fallback"]),
        st.booleans(),
        st.floats(0, 1),
    ),
    max_size=40,
).map(
    lambda drawn: [
        example(number, text, intent, reviewed=reviewed, confidence=confidence)
        for number, (text, intent, reviewed, confidence) in enumerate(drawn)
    ]
)


def keys(selection: Selection) -> tuple[set[str], set[str]]:
    return {one.key for one in selection.lessons}, {one.key for one in selection.holdout}


@given(rows)
def test_no_text_stands_on_both_sides(drawn: list[LabelledExample]) -> None:
    learned, held_out = keys(select(drawn, RULE))

    assert not learned & held_out


@given(rows, rows, st.randoms())
def test_the_holdout_only_ever_grows(
    before: list[LabelledExample], later: list[LabelledExample], rng: Random
) -> None:
    everything = [*before, *(example(100 + n, row.text) for n, row in enumerate(later))]
    rng.shuffle(everything)
    held_out = {one.id for one in select(before, RULE).holdout}

    learned, _ = keys(select(everything, RULE))
    assert held_out <= {one.id for one in select(everything, RULE).holdout}
    assert not learned & keys(select(before, RULE))[1]


@given(rows)
def test_every_row_is_learned_from_judged_by_or_counted_as_left_out(
    drawn: list[LabelledExample],
) -> None:
    selection = select(drawn, RULE)
    learned = {(one.key, one.intent, one.reviewed) for one in selection.lessons}
    taken = sum((row.key, row.intent, row.reviewed) in learned for row in drawn)
    unsure = [
        row
        for row in drawn
        if (row.key, row.intent, row.reviewed) in learned
        and not row.reviewed
        and row.confidence < RULE.min_confidence
    ]

    accounted = taken - len(unsure) + len(selection.holdout) + sum(selection.left_out.values())
    assert accounted == len(drawn)


def test_a_fifth_of_new_texts_joins_the_holdout() -> None:
    many = [example(n, " ".join(Random(n).choices(WORDS[:-1] + list("bcdfgk"), k=9)))
            for n in range(3000)]  # fmt: skip
    selection = select(many, RULE)

    assert 0.17 < len(selection.holdout) / len(many) < 0.23


def test_a_greater_share_only_adds_to_the_holdout() -> None:
    many = [example(n, " ".join(Random(n).choices("abcdefghijk", k=9))) for n in range(500)]
    smaller = {one.id for one in select(many, SelectionRule(holdout_share=0.1)).holdout}
    greater = {one.id for one in select(many, SelectionRule(holdout_share=0.3)).holdout}

    assert smaller < greater


def learned_text() -> str:
    """A text that does not belong to the holdout."""
    return next(
        text for text in ("track order", "refund", "where is it") if select(
            [example(1, text)], RULE).lessons
    )  # fmt: skip


def test_unreviewed_examples_are_learned_from_only_when_the_nlu_was_sure() -> None:
    text = learned_text()

    assert not select([example(1, text, reviewed=False, confidence=0.89)], RULE).lessons
    assert select([example(1, text, reviewed=False, confidence=0.91)], RULE).lessons


def test_a_fallback_that_nobody_has_reviewed_teaches_nothing() -> None:
    sure = example(1, learned_text(), "nlu_fallback", reviewed=False, confidence=1.0)

    assert not select([sure], RULE).lessons


def test_a_text_counts_three_times_at_most_and_thrice_as_much_when_reviewed() -> None:
    text = learned_text()
    thousand = [example(n, text, reviewed=False) for n in range(1000)]
    once = [example(1, text, reviewed=True)]

    [by_machine] = select(thousand, RULE).lessons
    [by_person] = select(once, RULE).lessons
    assert by_machine.weight == 3
    assert by_person.weight == 3


def test_what_a_person_says_of_a_text_silences_the_machine() -> None:
    text = learned_text()
    machine = [example(n, text, "wrong", reviewed=False) for n in range(1000)]

    [lesson] = select([*machine, example(-1, text.upper(), "right")], RULE).lessons
    assert lesson.intent == "right"


@pytest.mark.parametrize("is_for_learning", [True, False])
def test_what_a_reviewer_rejected_neither_teaches_nor_judges(*, is_for_learning: bool) -> None:
    text = next(t for t in WORDS if is_held_out(normalise(t), RULE) is not is_for_learning)
    rejected = [example(1, text, rejected=True), example(2, text, reviewed=False)]

    selection = select(rejected, RULE)
    assert (selection.lessons, selection.holdout) == ([], [])
    assert selection.left_out == {"rejected": 2}


def test_a_text_that_was_rejected_once_and_labelled_once_has_the_label() -> None:
    rows = [example(1, learned_text(), "wrong", rejected=True), example(2, learned_text(), "right")]

    assert [lesson.intent for lesson in select(rows, RULE).lessons] == ["right"]


def test_spellings_that_differ_in_nothing_that_matters_are_one_text() -> None:
    assert normalise("Where's my ORDER 4711?!") == normalise("wheres my order 12")
    assert normalise("heyyyyy") == normalise("heyy")
    assert normalise("\uff4frder") == "order"
    assert normalise("मेरा ऑर्डर कहाँ है?") == "मेरा ऑर्डर कहाँ है"
    assert normalise("!!!") == ""


def test_a_snapshot_is_the_same_in_any_order_and_another_after_a_review() -> None:
    rows = [example(1, "a", reviewed=False), example(2, "b")]
    one, other = Snapshot.of("ds", NOW, rows), Snapshot.of("ds", NOW, reversed(rows))
    after_review = Snapshot.of("ds", NOW, [example(1, "a", "b"), rows[1]])

    assert one == other
    assert one.ids_hash == after_review.ids_hash
    assert one.labels_hash == other.labels_hash != after_review.labels_hash
    assert Snapshot.of("ds", NOW, rows[:1]).ids_hash != one.ids_hash
