"""An export holds a few rows at a time, however large the dataset is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from intentloop_sink.catalogue import Example, ExampleFilter
from intentloop_sink.export import Export, Format, Selection, parquet

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PAGES, PAGE = 40, 50


class Made:
    """A source that makes its examples up, and knows how many it was asked for."""

    as_of = NOON

    def __init__(self) -> None:
        self.given = 0

    def count(self, _dataset_id: str, _wanted: ExampleFilter) -> int:
        return PAGES * PAGE

    def examples(
        self, _dataset_id: str, _wanted: ExampleFilter, *, by_intent: bool
    ) -> Iterator[list[Example]]:
        assert by_intent in (True, False)
        for _ in range(PAGES):
            self.given += PAGE
            yield [example(number) for number in range(self.given - PAGE, self.given)]


def examples(
    self, dataset_id: str, wanted: ExampleFilter, *, by_intent: bool
) -> Iterator[list[Example]]:
    for start in range(0, self._count, PAGE):
        yield [example(number) for number in range(start, start + PAGE)]


def example(number: int) -> Example:
    return Example(
        id=f"ex-{number}",
        dataset_id="ds-a",
        type="nlu",
        input=f"where is my order {number}?",
        intent="track_order",
        tags=["confidence:95"],
        created_at=NOON + timedelta(seconds=number),
        event_id=f"e-{number}",
        predicted_intent="track_order",
        confidence=0.95,
        review_reasons=[],
        sender="+919876543210",
        channel="web",
        language=None,
        model_version="",
        session_id=None,
        message_id=None,
        current_step=None,
        alternatives=None,
    )


@pytest.mark.parametrize("kind", Format)
def test_bytes_leave_as_rows_come(kind: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_ROW_GROUP", 4 * PAGE)
    source = Made()
    pieces = Export(Selection("ds-a"), kind, source).pieces()
    next(pieces)
    assert source.given == 0

    sizes = []
    for page in range(1, PAGES + 1):
        sizes.append(len(next(pieces)))
        assert source.given == page * PAGE
    groups = [sum(sizes[start : start + 4]) for start in range(0, PAGES, 4)]

    assert min(groups) > 0
    assert max(groups) < 1.5 * min(groups)
