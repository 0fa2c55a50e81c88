"""The writer of requests: what was encoded ahead is used, until something is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from intentloop_admin.ingest import Line, Post, Writer
from intentloop_schemas import Batch, DeadLetterReason, Entry
from intentloop_sink import Outcome, Prepared, Refusal, Refused, Stored
from intentloop_stream.processing import LocalRecord
from support.batches import NOON, entry


class Refusing:
    """A store that refuses the first entry it sees; it notes the lines it is given."""

    def __init__(self) -> None:
        self.lines: list[dict[str, str] | None] = []

    def encode(self, entries: Iterable[Entry]) -> dict[str, str]:
        """Return a line that says what its entry says."""
        return {one.example_id: one.event.message_text for one in entries}

    def prepare(self, batches: Sequence[Batch], lines: Mapping[str, str] | None) -> Prepared:
        """Note the lines."""
        self.lines.append(None if lines is None else dict(lines))
        return cast("Any", batches)

    def store(self, prepared: Prepared) -> Outcome:
        """Refuse once, then store."""
        if len(self.lines) > 1:
            return Stored({})
        (batch, _) = cast("Sequence[Batch]", prepared)
        bad = Refusal(
            batch.partition, batch.entries[0], DeadLetterReason.REFUSED_BY_DATABASE, "bad"
        )
        return Refused((bad,))


def post(text: str) -> Post:
    one = entry(0, message_text=text)
    one.record = LocalRecord(one.event.to_json(), NOON)
    return Post([one])


def test_lines_are_the_first_of_their_id_until_something_is_refused() -> None:
    """Both have one id: when the first is refused, its line may not stand for the second."""
    sink, posts = Refusing(), [post("refused"), post("stored")]
    writer = Writer(Line("w", lambda: NOON), sink, None)
    for each in posts:
        writer.encode(each)

    writer.write(posts)

    (first,) = posts[1].lines
    assert sink.lines == [{first: "refused"}, None]
    assert [len(each.entries) for each in posts] == [0, 1]
