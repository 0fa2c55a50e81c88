"""Datasets as files that other tools read: rows in, bytes out, a few at a time."""

from intentloop_sink.export.formats import Format
from intentloop_sink.export.parquet import MissingExtraError
from intentloop_sink.export.provenance import Provenance, Tally
from intentloop_sink.export.row import Row, Side, side_of
from intentloop_sink.export.selection import Selection
from intentloop_sink.export.source import ExampleSource, PagedSource, SnapshotSource
from intentloop_sink.export.stream import Export
from intentloop_sink.export.writer import Writer

__all__ = [
    "ExampleSource",
    "Export",
    "Format",
    "MissingExtraError",
    "PagedSource",
    "Provenance",
    "Row",
    "Selection",
    "Side",
    "SnapshotSource",
    "Tally",
    "Writer",
    "side_of",
]
