"""An export on its way: from a source to the bytes of a file, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from intentloop_sink.catalogue.examples import Example
from intentloop_sink.export.formats import Format
from intentloop_sink.export.provenance import Provenance, Tally
from intentloop_sink.export.row import Row, Side, side_of
from intentloop_sink.export.selection import Selection
from intentloop_sink.export.source import ExampleSource


@dataclass(frozen=True)
class Export:
    """One selection from a source, in one format. It asks the source when it is asked itself."""

    selection: Selection
    format: Format
    source: ExampleSource

    @cached_property
    def provenance(self) -> Provenance:
        """Where it comes from. Asks how many examples there are, which looks at each."""
        chosen = self.selection
        matching = self.source.count(chosen.dataset_id, chosen.filter)
        return Provenance(chosen, self.source.as_of, matching)

    def rows(self) -> Iterator[list[Row]]:
        """Yield the rows of both sides, senders masked unless they may be shown."""
        chosen = self.selection
        examples = self.source.examples(
            chosen.dataset_id, chosen.filter, by_intent=self.format.is_by_intent
        )
        for page in examples:
            yield [self._row(example) for example in page]

    def pieces(self, tally: Tally | None = None) -> Iterator[bytes]:
        """Yield the bytes of the file, in pieces that may be empty; `tally` counts what is in it.

        Raises MissingExtraError before the first piece, and what the source raises.
        """
        tally = Tally() if tally is None else tally
        writer = self.format.writer()
        yield writer.begin(self.provenance)
        for page in self.rows():
            rows = [row for row in page if self.selection.side in (None, row.side)]
            tally.add(rows)
            yield writer.rows(rows)
        yield writer.end(self.provenance, tally)

    def sides(self, tallies: Mapping[Side, Tally]) -> Iterator[tuple[Side, bytes]]:
        """Yield the bytes of two files in one pass, each piece with the side whose file it is of.

        Raises as `pieces`.
        """
        files = {side: (self.provenance.of_side(side), self.format.writer()) for side in tallies}
        for side, (provenance, writer) in files.items():
            yield side, writer.begin(provenance)
        for page in self.rows():
            for side, (_, writer) in files.items():
                rows = [row for row in page if row.side is side]
                tallies[side].add(rows)
                yield side, writer.rows(rows)
        for side, (provenance, writer) in files.items():
            yield side, writer.end(provenance, tallies[side])

    def _row(self, example: Example) -> Row:
        shown = example if self.selection.shows_senders else example.masked()
        return Row(shown, side_of(example.input, self.selection.test_share))
