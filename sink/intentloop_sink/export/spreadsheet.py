"""CSV for spreadsheets (RFC 4180): UTF-8 with its mark, and no cell becomes a formula.

A spreadsheet runs what begins with `=`, `+`, `-` or `@`, and customers write what they like. Such a
cell, and one that begins with an apostrophe, gets an apostrophe in front: take one away from what
begins with one, and every cell is as it was (`plain`).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from intentloop_sink.export.jsonl import as_json
from intentloop_sink.export.provenance import Provenance, Tally
from intentloop_sink.export.row import Row

COLUMNS = (
    "id",
    "input",
    "intent",
    "split",
    "predictedIntent",
    "confidence",
    "reviewReasons",
    "tags",
    "createdAt",
    "channel",
    "language",
    "modelVersion",
    "currentStep",
    "alternatives",
    "sender",
    "sessionId",
    "messageId",
)

_APOSTROPHE = "'"
# Spreadsheets take the wide forms of East Asian keyboards for the same, and may skip blanks.
_TRIGGERS = (*"=+-@\t\r\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", _APOSTROPHE)
_MARK = "\ufeff"


def harmless(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    begins = (cell, cell.lstrip())
    return _APOSTROPHE + cell if any(c.startswith(_TRIGGERS) for c in begins) else cell


def plain(cell: str) -> str:
    """Return what a cell was before it was made harmless."""
    return cell.removeprefix(_APOSTROPHE)


class Spreadsheet:
    """A line of names, then a line for each row. Lists are JSON; what is null is empty."""

    def begin(self, provenance: Provenance) -> bytes:  # noqa: ARG002 - see `Writer`
        """Return the names of the columns."""
        return (_MARK + _lines([COLUMNS])).encode()

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Return a line for each."""
        return _lines([_cells(row) for row in rows]).encode()

    def end(self, provenance: Provenance, tally: Tally) -> bytes:  # noqa: ARG002 - see `Writer`
        """Return nothing."""
        return b""


def _lines(cells: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(cells)
    return text.getvalue()


def _cells(row: Row) -> list[str]:
    fields = as_json(row)
    return [harmless(_cell(fields[name])) for name in COLUMNS]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
