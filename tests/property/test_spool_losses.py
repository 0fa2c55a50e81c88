"""Dividing batches by losses: every record goes to exactly one side, and the counts stay true."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from intentloop_schemas import Batch
from intentloop_sink.recovery import Loss, divide, shrink
from support.batches import PARTITION, batch, entry, partition

END = 40


@st.composite
def tiled(draw: st.DrawFn) -> list[Batch]:
    """Draw batches that tile a log without holes, some of whose records were rejected."""
    cuts = sorted(draw(st.sets(st.integers(1, END - 1), max_size=6)))
    rejected = draw(st.sets(st.integers(0, END - 1), max_size=15))
    return [
        batch(
            [entry(offset) for offset in range(first, end) if offset not in rejected],
            first=first,
            next_position=end,
            rejected=len(rejected & set(range(first, end))),
        )
        for first, end in zip([0, *cuts], [*cuts, END], strict=True)
    ]


@st.composite
def losses(draw: st.DrawFn) -> list[Loss]:
    edges = sorted(draw(st.sets(st.integers(0, END), max_size=6)))
    pairs = zip(edges[::2], edges[1::2], strict=False)
    return [Loss(PARTITION, first, end) for first, end in pairs]


def offsets(batches: list[Batch]) -> list[int]:
    return [e.record.offset for b in batches for e in b.entries]


def ranges(batches: list[Batch]) -> set[int]:
    return {p for b in batches for p in range(b.first_position, b.next_position)}


@given(tiled(), losses(), st.integers(0, END))
def test_every_record_goes_to_one_side(
    batches: list[Batch], recorded: list[Loss], position: int
) -> None:
    recorded = [loss for loss in recorded if loss.next_position <= position]
    lost, rest = divide(batches, recorded, {PARTITION: position})

    in_loss = {p for loss in recorded for p in range(*loss[1:])}
    assert ranges(lost) == in_loss
    assert ranges(rest) == set(range(END)) - in_loss
    assert sorted(offsets(lost) + offsets(rest)) == offsets(batches)
    for part in lost + rest:
        assert part.next_position - part.first_position == len(part.entries) + part.rejected
        assert not part.first_position < position < part.next_position
    statements = shrink(recorded, lost)
    assert [s.parameters[2] for s in statements] == [loss.first_position for loss in recorded]
    assert all(s.parameters[3:] == ("{}", "{}") for s in statements)


@given(tiled(), losses())
def test_a_range_that_comes_twice_is_recovered_once(
    batches: list[Batch], recorded: list[Loss]
) -> None:
    twice = sorted([*batches, *batches], key=lambda b: b.first_position)
    lost, rest = divide(twice, recorded, {PARTITION: END})
    once, _ = divide(batches, recorded, {PARTITION: END})
    assert offsets(lost) == offsets(once)
    assert len(offsets(lost) + offsets(rest)) == 2 * len(offsets(batches))


@given(tiled(), losses())
def test_what_is_not_recovered_stays_lost(batches: list[Batch], recorded: list[Loss]) -> None:
    lost, _ = divide(batches[::2], recorded, {PARTITION: END})
    gone = ranges(lost)
    changed = {s.parameters[2]: s.parameters[3:] for s in shrink(recorded, lost)}
    for loss in recorded:
        firsts, ends = changed.get(loss.first_position, ((), ()))
        left = set(range(*loss[1:])) - gone
        if not changed.get(loss.first_position):
            assert left == set(range(*loss[1:]))
            continue
        numbers = [[int(n) for n in text[1:-1].split(",") if n] for text in (firsts, ends)]
        assert left == {p for f, e in zip(*numbers, strict=True) for p in range(f, e)}


def test_holes_leave_no_more_rejected_than_there_were() -> None:
    with_holes = batch([entry(2), entry(8)], first=0, next_position=10, rejected=3)
    lost, rest = divide([with_holes], [Loss(PARTITION, 0, 5)], {PARTITION: 7})
    assert [(p.first_position, p.next_position, p.rejected) for p in lost + rest] == [
        (0, 5, 3),
        (5, 10, 0),
    ]


def test_other_partitions_losses_do_not_matter() -> None:
    batches = [batch([entry(0), entry(1)])]
    loss = Loss(partition(1), 0, 2)
    assert divide(batches, [loss], {PARTITION: 2}) == ([], batches)
    assert shrink([loss], batches) == []
