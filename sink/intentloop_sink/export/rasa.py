r"""NLU training data for Rasa, format 3.1.

Every text is a quoted scalar of its own, so that line ends and leading dashes stay. Rasa reads
`[text](entity)` in it as markup, and knows no way to escape that; a backslash behind the bracket,
`[text]\(entity)`, keeps it text. `plain` takes it away again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from intentloop_sink.export.provenance import Provenance, Tally
from intentloop_sink.export.row import Row

_VERSION = "3.1"
# Rasa looks for a bracket that closes with one that opens right behind it.
_MARKUP = re.compile(r"\](\\*)(?=[(\[{])")
_ESCAPED = re.compile(r"\]\\(\\*)(?=[(\[{])")
# What a YAML stream must not hold as it is (YAML 1.2.2, section 5.1), and line ends of its own.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def harmless(text: str) -> str:
    """Return a text that Rasa finds no entities in."""
    return _MARKUP.sub(r"]\\\1", text)


def plain(text: str) -> str:
    """Return what a text was before it was made harmless."""
    return _ESCAPED.sub(r"]\1", text)


class Rasa:
    """One block for the rows of an intent that come together: sort them by it."""

    def __init__(self) -> None:
        self._intent: str | None = None

    def begin(self, provenance: Provenance) -> bytes:
        """Return the head, with the provenance as a comment."""
        return f'# {provenance.as_text()}\nversion: "{_VERSION}"\nnlu:\n'.encode()

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Return a text for each, and an intent where it changes."""
        return "".join(self._lines(row) for row in rows).encode()

    def end(self, provenance: Provenance, tally: Tally) -> bytes:
        """Return what was written, as a comment; and an empty list if that is nothing."""
        nothing = "" if tally.sides.total() else "  []\n"
        return f"{nothing}# {provenance.as_text(tally)}\n".encode()

    def _lines(self, row: Row) -> str:
        example = row.example
        text = f"  - text: {_quoted(harmless(example.input))}\n"
        if example.intent == self._intent:
            return text
        self._intent = example.intent
        return f"- intent: {_quoted(example.intent)}\n  examples:\n{text}"


def _quoted(text: str) -> str:
    """Return a text as a double-quoted scalar: nearly what JSON calls a string."""
    quoted = json.dumps(text, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)
