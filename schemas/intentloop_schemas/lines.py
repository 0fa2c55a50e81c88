"""Lines of JSON behind a checksum of their exact bytes, for files that must tell their damage.

One looks like this: `{"crc":"1c291ca3","event":{"phoneNumber":"+15550100", ... }}`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

LINE_START = b'{"crc":"'
"""Begins every line, and stands nowhere else: inside a JSON string its quotes are escaped."""
_CRC_DIGITS = 8
_LINE_END = b"}\n"


class Piece(NamedTuple):
    """A line as it is in the file, and its text; what is damaged has none."""

    raw: bytes
    text: bytes | None


class LineFormat:
    """The lines of files whose texts are called `name`."""

    def __init__(self, name: str) -> None:
        self._behind_crc = f'","{name}":'.encode()
        self._text_start = len(LINE_START) + _CRC_DIGITS + len(self._behind_crc)

    def encode(self, text: bytes) -> bytes:
        """Return the line of a text, which is JSON without a line break; newline included."""
        crc = f"{crc32(text):0{_CRC_DIGITS}x}".encode()
        return LINE_START + crc + self._behind_crc + text + _LINE_END

    def decode(self, line: bytes) -> bytes | None:
        """Return the text of a line, None when the line is damaged."""
        text = line[self._text_start : -len(_LINE_END)]
        return text if line == self.encode(text) else None

    def pieces(self, raw: bytes) -> Iterator[Piece]:
        """Yield a line, or its damaged part and then the lines that it swallowed with a newline."""
        while raw:
            text = self.decode(raw)
            end = -1 if text is not None else raw.find(LINE_START, 1)
            end = end if end > 0 else len(raw)
            yield Piece(raw[:end], text)
            raw = raw[end:]
